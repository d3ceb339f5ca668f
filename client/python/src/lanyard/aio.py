"""The client for asyncio: the same names and arguments as in `lanyard`, awaited."""

from lanyard._async.client import Client
from lanyard._async.pages import Pages
from lanyard._async.subject import Subject

__all__ = ["Client", "Pages", "Subject"]
