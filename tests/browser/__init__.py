"""Tests in a browser. A package, so that pytest ends their browser where it leaves this folder."""
