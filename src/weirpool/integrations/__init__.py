"""weirpool in what services are made of: each framework has a module here, and none is imported before it is asked for.

    from weirpool.integrations import Pools
    from weirpool.integrations.fastapi import Pool, install

`fastapi`, `starlette`, `litestar`, `quart`, `aiohttp`, `django` and, for any other ASGI application, `asgi`: each has
`install` (Litestar: a plugin) and a way to get at a pool, and most have `background`. `status` has a page to mount in them.
`progress` has bars of tqdm and rich for `pool.map`.
"""

from ._budget import Budget, check_budget
from ._pools import OpenPools, Pools
from ._requests import ASGIOptions, RequestOptions

__all__ = ["ASGIOptions", "Budget", "OpenPools", "Pools", "RequestOptions", "check_budget"]

for _name in __all__:
    globals()[_name].__module__ = __name__
