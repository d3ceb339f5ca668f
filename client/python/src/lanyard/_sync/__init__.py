# Made by client/python/generate: do not edit.
