from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from panoweave.core.infra.settings import Settings


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANOWEAVE_LEASE_S", "60")
    monkeypatch.setenv("PANOWEAVE_PERCEPTUAL", "style-vgg")
    monkeypatch.setenv("PANOWEAVE_PERCEPTUAL_TRUNK", "/models/vgg.pth")
    monkeypatch.setenv("PANOWEAVE_S3_PUBLIC_ENDPOINT", "")  # as compose passes what is not set
    monkeypatch.setenv("PANOWEAVE_OF_ANOTHER_VERSION", "1")
    monkeypatch.setenv(
        "PANOWEAVE_LORAS", '{"ink": {"source": "some/lora", "triggers": ["ink wash"]}}'
    )
    settings = Settings()
    assert settings.loras["ink"].source == "some/lora"
    assert settings.loras["ink"].triggers == ("ink wash",)
    assert settings.lease_s == 60
    assert settings.perceptual == "style-vgg"
    assert settings.perceptual_trunk == Path("/models/vgg.pth")
    assert settings.s3_public_endpoint is None


def test_a_redis_password_shows_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANOWEAVE_REDIS_URL", "redis://:hunter2@10.0.0.1:6379/0")
    settings = Settings()
    assert "hunter2" in settings.redis_url.get_secret_value()
    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump_json()}"


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"HEARTBEAT_S": "10", "LEASE_S": "15"}, "PANOWEAVE_HEARTBEAT_S"),
        ({"S3_ACCESS_KEY_ID": "key"}, "PANOWEAVE_S3_SECRET_ACCESS_KEY"),
        ({"PERCEPTUAL": "ssim"}, "stlpips-alex"),
        ({"PORT": "70000"}, "port"),
        ({"MAX_ATTEMPTS": "0"}, "max_attempts"),
        ({"REDIS_URL": "127.0.0.1:6379"}, "must begin with redis:// or rediss:// or unix://"),
        ({"REDIS_URL": "redis://:6379"}, "names no host"),
        ({"S3_ENDPOINT": "127.0.0.1:8333"}, "s3_endpoint[^/]*must begin with http:// or https://"),
        ({"S3_PUBLIC_ENDPOINT": "pictures.example"}, "s3_public_endpoint"),
        ({"S3_ENDPOINT": "http://s3.example:port"}, "port is not legal"),
        (
            {"S3_ENDPOINT": "http://127.0.0.1:8333", "S3_ADDRESSING": "virtual"},
            "PANOWEAVE_S3_ENDPOINT has an IP address",
        ),
        ({"S3_BUCKET": "My_Pictures", "S3_ADDRESSING": "virtual"}, "PANOWEAVE_S3_BUCKET=My_Pic"),
        ({"LORAS": "ink=some/lora"}, "loras[^/]*is not JSON"),
        ({"LORAS": '{"ink": {}}'}, "loras.ink.source"),
        ({"LORAS": '{"ink wash": {"source": "some/lora"}}'}, "loras.ink wash"),
        ({"LORAS": '{"ink": {"source": "some/lora", "scale": 1}}'}, "loras.ink.scale"),
        (
            {"LORAS": '{"ink": {"source": "some/lora"}}', "DTYPE": "float8"},
            "PANOWEAVE_LORAS needs another PANOWEAVE_DTYPE",
        ),
        ({"S3_BUCKET": "my.pictures", "S3_ADDRESSING": "virtual"}, "3 to 63 small letters"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], named: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"PANOWEAVE_{name}", value)
    with pytest.raises(ValidationError, match=f"(?s){named}"):
        Settings()


def test_a_password_in_an_address_that_is_not_legal_shows_nowhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PANOWEAVE_REDIS_URL", "http://:hunter2@10.0.0.1:6379/0")
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "pair",
    [
        ("S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY"),
        ("REDIS_CERTIFICATE", "REDIS_PRIVATE_KEY"),
        ("C2PA_CERTIFICATE", "C2PA_PRIVATE_KEY"),
    ],
)
def test_half_of_a_pair_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pair: tuple[str, str]
) -> None:
    """By the names of both: the one that is missing is in none of the variables."""
    monkeypatch.setenv("PANOWEAVE_REDIS_URL", "rediss://10.0.0.1")
    value = tmp_path / "value.pem"
    value.touch()
    one, other = (f"PANOWEAVE_{name}" for name in pair)
    for half in (one, other):
        with monkeypatch.context() as alone:
            alone.setenv(half, str(value))
            with pytest.raises(ValidationError) as refused:
                Settings()
        assert f"{one} and {other} go together: set both or neither" in str(refused.value)
    monkeypatch.setenv(one, str(value))
    monkeypatch.setenv(other, str(value))
    Settings()
