"""The pages inside Airflow as strangers and users ask for them, with Airflow's own tokens and a login that is required."""
from __future__ import annotations

import json
import subprocess
import sys

from tests.support import REPOSITORY

ASK = """
import json, sys
from airflow.api_fastapi.app import init_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow import settings
from airflow.models.revoked_token import RevokedToken
from fastapi import FastAPI
from starlette.testclient import TestClient
from pipelines.airflow_plugins.lake_ui import LakeUI
settings.configure_orm()
RevokedToken.__table__.create(settings.engine, checkfirst=True)      # all that a token is looked up in
app = FastAPI()
for one in LakeUI.fastapi_apps:
    app.mount(one["url_prefix"], one["app"])
token = init_auth_manager(app).generate_jwt(SimpleAuthManagerUser(username="officer", role="viewer"))
def ask(path, **headers):
    answer = TestClient(app).get(path, headers=headers)
    return [answer.status_code, answer.text]
known = {"Authorization": f"Bearer {token}"}
heads = {"stranger": {}, "forged": {"Authorization": f"Bearer {token[:-8]}AAAAAAAA"}, "known": known, "cookie": {"Cookie": f"_token={token}"}}
print(json.dumps({"index": {who: ask("/lake/index.html", **head) for who, head in heads.items()}, "outside": {path: ask(path, **known)[0] for path in sys.argv[1:]},
                  "folder": ask("/lake/", **known)[0], "strange": ask("/lake/nothing.html")[0]}))
"""


def test_only_those_whom_airflow_knows_see_the_pages(tmp_path):
    lake = tmp_path / "lake"
    (lake / "reports").mkdir(parents=True)
    (lake / "reports" / "index.html").write_text("the overview")
    (lake / "secret.txt").write_text("secret")
    (lake / "reports" / "link.html").symlink_to(lake / "secret.txt")
    outside = ["/lake/../secret.txt", "/lake/%2e%2e/secret.txt", "/lake/..%2fsecret.txt", "/lake/link.html", "/lake/nothing.html"]
    done = subprocess.run([sys.executable, "-c", ASK, *outside], capture_output=True, text=True, timeout=300, cwd=tmp_path, env={
        "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY), "AIRFLOW_HOME": str(tmp_path / "airflow"), "LAKE_HOME": str(lake),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "AIRFLOW__API_AUTH__JWT_SECRET": "s" * 64, "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False"})
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert {who: code for who, (code, _) in found["index"].items()} == {"stranger": 401, "forged": 403, "known": 200, "cookie": 200}
    assert found["index"]["known"][1] == "the overview" and "overview" not in found["index"]["stranger"][1]
    assert found["folder"] == 200 and found["strange"] == 401, "a stranger does not even learn which pages there are"
    assert set(found["outside"].values()) == {404}, found["outside"]
