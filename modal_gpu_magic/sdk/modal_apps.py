"""Adapter that stops a deployed App: `App.stop` is newer than modal 1.6.0, whose command line calls the server itself.

Tested with modal 1.6.0 and 1.6.4. Symptom if this breaks: `%modal_gpu stop NAME` of a detached session raises.
"""

from __future__ import annotations

from typing import Any

from modal_gpu_magic.sdk.modal_client import stub_of


def stop_app(name: str, client: Any) -> None:
    """End a deployed App and its containers.

    Raises:
        modal.exception.NotFoundError: no App is deployed under the name.
    """
    import modal

    app: Any = modal.App.lookup(name, client=client)
    if hasattr(app, "stop"):
        app.stop(client=client)
        return
    from modal._utils import async_utils
    from modal_proto import api_pb2

    synchronizer: Any = async_utils.synchronizer
    stub = stub_of(client)
    request = api_pb2.AppStopRequest(app_id=app.app_id, source=api_pb2.APP_STOP_SOURCE_CLI)

    async def stop() -> None:
        await stub.AppStop(request)  # as modal/cli/app.py

    synchronizer.create_blocking(stop, "stop", __name__)()
