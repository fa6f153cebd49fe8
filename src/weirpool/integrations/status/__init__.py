"""A page that shows what pools are doing, live, to mount in a service behind the service's own authentication.

page = StatusPage([pool])
app.mount("/pools", page)                                     # FastAPI, Starlette, any ASGI application
app.router.add_route("*", "/pools/{tail:.*}", page.aiohttp)   # aiohttp
"""

from ._page import StatusPage

__all__ = ["StatusPage"]

StatusPage.__module__ = __name__
