"""Serve a task's champion over HTTP, on loopback: MLflow's own scoring server, with additions.

Every response names the version that answered, and a request that is too large, that says
neither its length nor its type, or that is meant for another host, is told so with a 4xx. A
restart takes the new champion.
"""

from __future__ import annotations

from typing import Any

from hour9.pages import names_this_machine
from hour9.registry.packages import load
from hour9.registry.reproduce import find
from hour9.servers import HOST, check_free

LARGEST = 8 << 20  # bytes of a request
NAMED = "X-Hour9-Version"  # header of every response
GRACE = 5  # seconds that a request may still take when the server is told to stop


def serve(address: str, port: int) -> int:
    """Answer on http://127.0.0.1:<port>/invocations until stopped."""
    import uvicorn

    check_free(port, "--port ")
    served = app(address)
    print(f"{served.title} on http://{HOST}:{port}/invocations\nCtrl-C stops it", flush=True)
    uvicorn.run(served, host=HOST, port=port, log_level="warning", timeout_graceful_shutdown=GRACE)
    return 0


def app(address: str) -> Any:
    """The web application over one version. Raises Unusable where its bytes have changed."""
    from fastapi import Request
    from fastapi.responses import JSONResponse
    from mlflow.pyfunc import scoring_server

    version = find(address)
    name = f"{version.name}/{version.version}"
    application = scoring_server.init(load(version))
    application.title = name

    @application.middleware("http")
    async def answered_by(request: Request, call_next: Any) -> Any:
        refusal = refuse(request.method, dict(request.headers))
        if refusal:
            status, why = refusal
            response = JSONResponse({"error": why}, status)
        else:
            try:
                response = await call_next(request)
            except RecursionError:  # of the reader of JSON
                response = JSONResponse({"error": "the request is nested too deeply"}, 400)
        response.headers[NAMED] = name
        return response

    return application


def refuse(method: str, headers: dict[str, str]) -> tuple[int, str] | None:
    """Why a request is not even read, if it is not."""
    if not names_this_machine(headers.get("host", "")):
        return 403, f"unknown Host; ask for {HOST} or localhost"
    if "transfer-encoding" in headers:  # it overrides the length that is said beside it
        return 411, "say Content-Length, and no Transfer-Encoding"
    if method != "POST":
        return None
    if "content-type" not in headers:
        return 415, "say Content-Type: application/json"
    length = headers.get("content-length", "")
    if not length.isdigit():
        return 411, "say Content-Length"
    if int(length) > LARGEST:
        return 413, f"{length} bytes; at most {LARGEST} are read, send fewer rows"
    return None
