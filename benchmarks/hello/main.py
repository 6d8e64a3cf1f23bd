"""The plain function of the framework's documentation: what every other one is measured against."""

import flask
import functions_framework


@functions_framework.http
def hello(request: flask.Request) -> str:
    """Answer every request with the same words."""
    return "Hello, World!"
