# mypy: ignore-errors
# The example of BlueCat Gateway's documentation, with its imports changed. What it prints as `"/servers", ...` cannot run, there
# no more than here: the dots stand for parameters, and the servers of Micetro are at `/dnsServers` and `/dhcpServers`.

from lanyard.gateway import route
from bluecat_libraries.micetro.apiv2 import Client
from flask import g, jsonify
from tests.gateway_app import app


def get_micetro_servers(client: Client):
    # Implement using Micetro REST API
    data = client.http_get("/dnsServers")
    # process data
    return data


@route(app, "/example/servers")
def get_servers():
    data = get_micetro_servers(g.user.micetro_api.v2)
    return jsonify(data)
