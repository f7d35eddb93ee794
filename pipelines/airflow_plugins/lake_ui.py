"""The quality officer's pages inside Airflow: menu entry 数据质量, served under /lake/ to those whom Airflow knows.

Airflow does not ask for a login before what a plugin mounts, so that the app asks itself: every request needs the user's cookie or bearer token.
Named by `[core] plugins_folder` (`airflow_parts.environment`); nothing heavy is imported until a page is asked for.
"""
from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from pipelines.settings import lake_home

PREFIX = "/lake"


class Reports:
    """The folder `reports/` as an ASGI application behind Airflow's own authentication."""

    def __init__(self, folder: Path):
        self.folder, self._files = folder, None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
        from airflow.api_fastapi.core_api.security import resolve_user_from_token
        from fastapi import HTTPException
        from starlette.requests import HTTPConnection
        from starlette.responses import PlainTextResponse
        from starlette.staticfiles import StaticFiles

        if scope["type"] != "http":
            return
        asked = HTTPConnection(scope)
        token = asked.headers.get("authorization", "").removeprefix("Bearer ") or asked.cookies.get(COOKIE_NAME_JWT_TOKEN)
        try:
            await resolve_user_from_token(token)
        except HTTPException as refused:
            return await PlainTextResponse(str(refused.detail), refused.status_code)(scope, receive, send)
        self._files = self._files or StaticFiles(directory=self.folder, html=True)
        try:
            await self._files(scope, receive, send)
        except HTTPException as missing:
            await PlainTextResponse("not found", missing.status_code)(scope, receive, send)


class LakeUI(AirflowPlugin):
    """The menu entries and the application behind it."""

    name = "lake_ui"
    fastapi_apps = [{"app": Reports(lake_home() / "reports"), "url_prefix": PREFIX, "name": "lake reports"}]
    external_views = [{"name": "数据质量 Data quality", "href": f"{PREFIX}/index.html", "url_route": "data-quality", "destination": "nav"},
                      {"name": "数据字典 Dictionary", "href": f"{PREFIX}/dictionary/index.html", "url_route": "dictionary", "destination": "nav"}]
