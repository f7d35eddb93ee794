"""Real public data is never shipped: these tests run where LAKE_REAL_DATA names its folder (`make test-real`)."""
import os
from pathlib import Path

REAL = Path(os.environ.get("LAKE_REAL_DATA", "/nonexistent"))
collect_ignore = [] if REAL.is_dir() else ["test_register.py"]
