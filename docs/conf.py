"""The site: ``nox -s docs`` builds it into ``dist/docs``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx import addnodes


if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment


project = "Five extensions for Flask"
copyright = "the contributors"  # noqa: A001 - Sphinx reads this name
language = "en"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "notfound.extension",
]
default_role = "code"
nitpicky = True

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True

# The inventories are in the repository, so that the build needs no network.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", "inventories/python.inv"),
    "flask": ("https://flask.palletsprojects.com/en/stable", "inventories/flask.inv"),
    "jinja": ("https://jinja.palletsprojects.com/en/stable", "inventories/jinja.inv"),
    "werkzeug": (
        "https://werkzeug.palletsprojects.com/en/stable",
        "inventories/werkzeug.inv",
    ),
}

# In the docstring of blinker's signals.
nitpick_ignore = [("py:class", "Namespace")]

# Prompts are not copied, and neither is output.
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True

# Hosts of samples, and pages that turn away what is no browser.
linkcheck_ignore = [r"http://(127\.0\.0\.1|localhost)", r"https?://\S*\bexample\b"]
linkcheck_anchors_ignore_for_url = [r"https://github\.com/"]

html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_js_files = ["site.js"]
html_copy_source = False
html_show_sphinx = False

#: What signatures call the things that are documented under another name.
PUBLIC_NAMES = {
    "Flask": "flask.Flask",
    "FileStorage": "werkzeug.datastructures.FileStorage",
    "SaveOptions": "flask_store.SaveOptions",
    "datetime": "datetime.datetime",
    "flask.wrappers.Response": "flask.Response",
    "jinja2.environment.Template": "jinja2.Template",
    "werkzeug.datastructures.file_storage.FileStorage": (
        "werkzeug.datastructures.FileStorage"
    ),
}
#: Names that every package has; a page means those of its own.
SHARED_NAMES = {"Config": "config", "ConfigError": "exceptions"}
#: Types of internal modules.
INTERNAL = re.compile(r"flask_\w+(\.\w+)*\._\w+(\.\w+)+")
#: Type variables, protocols and unions, as a module calls what it does not export.
LOCAL = re.compile(r"~?[A-Z]\w*")


def rename(app: Sphinx, doctree: nodes.document) -> None:
    """Give names in signatures the form under which they are documented."""
    package = app.env.docname.split("/")[0].replace("-", "_")
    for node in doctree.findall(addnodes.pending_xref):
        target = node.get("reftarget")
        if target in SHARED_NAMES and package.startswith("flask_"):
            node["reftarget"] = f"{package}.{SHARED_NAMES[target]}.{target}"
        else:
            node["reftarget"] = PUBLIC_NAMES.get(target, target)


def leave_private(
    app: Sphinx, env: BuildEnvironment, node: nodes.Element, text: nodes.TextElement
) -> nodes.Node | None:
    """Leave what is private as text: in signatures, where callers never name it."""
    target, role = node["reftarget"], isinstance(text, nodes.literal)
    private = INTERNAL.fullmatch(target) or (not role and LOCAL.fullmatch(target))
    return text if node["reftype"] == "class" and private else None


def setup(app: Sphinx) -> None:
    """Register the two."""
    app.connect("doctree-read", rename)
    app.connect("missing-reference", leave_private)
