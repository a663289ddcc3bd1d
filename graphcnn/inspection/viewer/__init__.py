"""The viewer: the forward and gradient graphs of a model as one HTML file that needs nothing else.

`document` states the graphs as plain JSON data, `page` puts data, script (`assets/`) and the layout library
(`vendor/`) together, `show` writes the file and opens it.
"""

from graphcnn.inspection.viewer.document import difference_document, graph_document, model_document
from graphcnn.inspection.viewer.page import page, write_page
from graphcnn.inspection.viewer.show import show_difference, show_graph, show_model

__all__ = [
    "difference_document",
    "graph_document",
    "model_document",
    "page",
    "show_difference",
    "show_graph",
    "show_model",
    "write_page",
]
