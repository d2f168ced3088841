"""The five extension objects."""

from flask_firehose import Firehose
from flask_kaccel import Kaccel
from flask_store import Store
from flask_streaming import Streaming
from flask_webcache import WebCache


webcache = WebCache()
firehose = Firehose()
kaccel = Kaccel(static=True)
store = Store(spool=True)
streaming = Streaming()

EXTENSIONS = (webcache, firehose, kaccel, store, streaming)
