"""The application that the workflow is part of."""

from flask import Flask

app = Flask(__name__)
