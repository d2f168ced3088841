"""Start the real parts of a deployment for a test, and stop them.

Each server is a context manager that listens on a free loopback port, keeps its
files in a temporary directory of its own, is ready when it is entered, and is
stopped by its own process handle. :mod:`harness.fixtures` makes fixtures of them.
"""

from harness.apache import apache
from harness.azure import AzureServer
from harness.azure import azure_server
from harness.browser import browser
from harness.caddy import caddy_site
from harness.databases import RedisServer
from harness.databases import Sentinel
from harness.databases import memcached
from harness.databases import memcached_on_socket
from harness.databases import redis_cluster
from harness.databases import redis_sentinel
from harness.databases import redis_server
from harness.lighttpd import lighttpd
from harness.nginx import nginx
from harness.npm import node_packages
from harness.proxies import caddy
from harness.proxies import haproxy
from harness.proxies import varnish
from harness.relay import relay
from harness.s3 import Front
from harness.s3 import S3Server
from harness.s3 import ceph_server
from harness.s3 import ceph_user as ceph_user
from harness.s3 import s3_server
from harness.s3 import tls_front
from harness.s3_faulty import FaultyServer
from harness.s3_faulty import faulty_server
from harness.server import Server
from harness.server import free_port
from harness.server import free_ports
from harness.server import require
from harness.server import require_module
from harness.wsgi import WSGI_SERVERS
from harness.wsgi import cheroot
from harness.wsgi import granian
from harness.wsgi import gunicorn
from harness.wsgi import hypercorn
from harness.wsgi import serve
from harness.wsgi import uvicorn
from harness.wsgi import uwsgi
from harness.wsgi import waitress
from harness.wsgi import werkzeug_server


__all__ = [
    "WSGI_SERVERS",
    "AzureServer",
    "FaultyServer",
    "Front",
    "RedisServer",
    "S3Server",
    "Sentinel",
    "Server",
    "apache",
    "azure_server",
    "browser",
    "caddy",
    "caddy_site",
    "ceph_server",
    "cheroot",
    "faulty_server",
    "free_port",
    "free_ports",
    "granian",
    "gunicorn",
    "haproxy",
    "hypercorn",
    "lighttpd",
    "memcached",
    "memcached_on_socket",
    "nginx",
    "node_packages",
    "redis_cluster",
    "redis_sentinel",
    "redis_server",
    "relay",
    "require",
    "require_module",
    "s3_server",
    "serve",
    "tls_front",
    "uvicorn",
    "uwsgi",
    "varnish",
    "waitress",
    "werkzeug_server",
]
