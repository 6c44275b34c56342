"""`panoweave doctor` where nothing runs, where everything runs, and where one thing is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import pytest
from pydantic import SecretStr
from redis import Redis
from safetensors.torch import load_file, save_file
from torch import zeros

from panoweave.core.embedded import WEIGHTS
from panoweave.core.infra.settings import Settings
from panoweave.core.loras import LoraSource
from panoweave.deploy.doctor.checks import check_redis
from panoweave.deploy.doctor.models import (
    check_addition,
    check_lora,
    check_model,
    check_models,
)
from panoweave.deploy.local.ports import free_port
from panoweave.deploy.local.servers import RedisServer
from tests.deploy.stack import Cli, RunningStack


def server_environment(settings: Settings, model: Path) -> dict[str, str]:
    assert settings.s3_endpoint is not None
    assert settings.s3_access_key_id is not None
    assert settings.s3_secret_access_key is not None
    return {
        "PANOWEAVE_REDIS_URL": settings.redis_url.get_secret_value(),
        "PANOWEAVE_S3_ENDPOINT": settings.s3_endpoint,
        "PANOWEAVE_S3_BUCKET": settings.s3_bucket,
        "PANOWEAVE_S3_ACCESS_KEY_ID": settings.s3_access_key_id.get_secret_value(),
        "PANOWEAVE_S3_SECRET_ACCESS_KEY": settings.s3_secret_access_key.get_secret_value(),
        "PANOWEAVE_MODEL": str(model),
    }


def levels(said: str) -> dict[str, str]:
    """Check name -> ok, warn or fail."""
    found: dict[str, str] = {}
    for line in said.splitlines():
        words = line.split()
        for level in ("ok", "warn", "fail"):
            if level in words:
                found[" ".join(words[: words.index(level)])] = level
    return found


def test_where_nothing_runs_it_says_what_to_do(cli: Cli, tmp_path: Path) -> None:
    nobody = f"redis://127.0.0.1:{free_port()}/0"
    done = cli("doctor", "--data", str(tmp_path / "var"), PANOWEAVE_REDIS_URL=nobody)
    assert done.returncode == 1
    found = levels(done.stdout)
    assert found["Redis"] == "fail"
    assert found["S3 bucket panoweave"] == "fail"
    assert "panoweave up" in done.stdout
    assert "PANOWEAVE_REDIS_URL" in done.stdout


def test_servers_that_work_pass(cli_here: Cli, settings: Settings, tiny_checkpoint: Path) -> None:
    done = cli_here("doctor", **server_environment(settings, tiny_checkpoint))
    assert done.returncode == 0, done.stdout
    assert set(levels(done.stdout).values()) == {"ok"}


def test_it_finds_the_stack_that_runs_here(
    stack: RunningStack, cli_here: Cli, tiny_checkpoint: Path
) -> None:
    done = cli_here("doctor", "--data", str(stack.home.root), PANOWEAVE_MODEL=str(tiny_checkpoint))
    assert done.returncode == 0, done.stdout
    assert stack.state().api_url in done.stdout


def test_each_thing_that_is_wrong_is_named(
    cli_here: Cli, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "unet").mkdir()
    wrong = server_environment(settings, tmp_path) | {
        "PANOWEAVE_S3_BUCKET": "nobodys",
        "PANOWEAVE_PERCEPTUAL": "lpips-vgg",
        "PANOWEAVE_PERCEPTUAL_TRUNK": str(tmp_path / "missing.pth"),
        "PANOWEAVE_DEVICE": "cuda:63",
        "PANOWEAVE_REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
    }
    done = cli_here("doctor", **wrong)
    assert done.returncode == 1
    assert {name.split()[0]: level for name, level in levels(done.stdout).items()} == {
        "Redis": "fail",
        "S3": "fail",
        "device": "fail",
        "model": "fail",
        "perceptual": "fail",
    }
    assert "vae" in done.stdout
    assert "missing.pth" in "".join(done.stdout.split())  # a long path is wrapped


def test_a_redis_that_may_lose_jobs_is_named(
    cli_here: Cli, settings: Settings, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    with RedisServer(tmp_path / "data", tmp_path / "logs") as server:
        with Redis.from_url(server.url) as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
            client.config_set("appendonly", "no")
            client.config_set("maxmemory", 0)
        environment = server_environment(settings, tiny_checkpoint)
        done = cli_here("doctor", **environment | {"PANOWEAVE_REDIS_URL": server.url})
    assert done.returncode == 1
    found = levels(done.stdout)
    assert found["Redis persistence"] == "warn"
    assert found["Redis eviction"] == "fail"
    assert found["Redis memory"] == "warn"


@pytest.mark.parametrize("name", ["PANOWEAVE_REDIS_URL", "PANOWEAVE_S3_ENDPOINT"])
def test_an_address_without_scheme_is_one_line(cli_here: Cli, name: str) -> None:
    done = cli_here("doctor", **{name: "127.0.0.1:6379"})
    assert done.returncode == 2
    assert f"{name}: Value error, must begin with " in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_redis_user_without_info_is_no_failure(
    settings: Settings, redis_server: RedisServer, redis: Redis
) -> None:
    redis.acl_setuser(
        "panoweave", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-info", "-config"]
    )
    url = f"redis://panoweave:any@127.0.0.1:{redis_server.port}/0"
    found = list(check_redis(settings.model_copy(update={"redis_url": SecretStr(url)})))
    redis.acl_deluser("panoweave")
    assert [check.level for check in found] == ["ok", "warn"]


@pytest.mark.parametrize(
    ("name", "source", "level", "said"),
    [
        ("tiny_decoder", str(WEIGHTS / "tiny_decoder"), "ok", "tiny_decoder"),
        ("tiny_decoder", str(WEIGHTS / "tokenizer"), "fail", "config.json"),
        ("tiny_decoder", "./no/such/folder", "fail", "PANOWEAVE_TINY_DECODER"),
        ("controlnet", "nobody/has-fetched-this", "warn", "prefetch"),
    ],
)
def test_what_is_loaded_beside_the_model_is_looked_for_without_the_network(
    name: Literal["tiny_decoder", "controlnet"], source: str, level: str, said: str
) -> None:
    check = check_addition(name, source)
    assert check.level == level
    assert said in check.found + check.remedy


@pytest.mark.parametrize(
    ("source", "level", "said"),
    [
        (str(WEIGHTS / "unet"), "ok", "unet"),
        (str(WEIGHTS / "unet" / "diffusion_pytorch_model.safetensors"), "ok", "unet"),
        (str(WEIGHTS / "tokenizer"), "fail", "found: none"),
        ("/no/such/style.safetensors", "fail", "there is no LoRA"),
        ("nobody/has-fetched-this", "fail", "prefetch"),
    ],
)
def test_a_lora_is_looked_for_without_the_network(source: str, level: str, said: str) -> None:
    check = check_lora(source)
    assert check.level == level
    assert said in check.found + check.remedy


def test_a_lora_in_the_hubs_cache_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache as the hub's library lays it out. Of several files one has to be named."""
    snapshot = tmp_path / "models--some--lora" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    refs = tmp_path / "models--some--lora" / "refs"
    refs.mkdir()
    (refs / "main").write_text("a" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert check_lora("some/lora").level == "fail"
    (snapshot / "one.safetensors").write_bytes(b"")
    assert check_lora("some/lora").found == str(snapshot / "one.safetensors")
    (snapshot / "two.safetensors").write_bytes(b"")
    assert "found: one.safetensors, two.safetensors" in check_lora("some/lora").found
    assert check_lora("some/lora/two.safetensors").found == str(snapshot / "two.safetensors")
    assert check_lora("some/lora/two.safetensors@main").level == "ok"


def test_a_model_is_ok_only_if_a_worker_can_load_it(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "model"))
    settings = Settings(model=str(folder))
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".fp16.safetensors"))
    check, pipeline = check_model(settings)
    assert check.level == "ok"
    assert pipeline is not None
    lora = tmp_path / "lora.safetensors"
    layer = "unet.mid_block.of.another.to_q"
    save_file({f"{layer}.lora_A.weight": zeros(2, 8), f"{layer}.lora_B.weight": zeros(8, 2)}, lora)
    assert check_lora(str(lora), pipeline).level == "fail"
    offered = check_lora(str(lora), pipeline, "ink")
    assert (offered.name, offered.level) == ("LoRA ink", "fail")
    assert "cannot load the LoRA 'ink': " in offered.found
    assert "PANOWEAVE_LORAS" in offered.remedy
    assert check_addition("tiny_decoder", str(WEIGHTS / "tiny_decoder"), pipeline).level == "fail"
    shutil.copytree(WEIGHTS / "tiny_decoder", folder / "tiny_decoder")
    settings = settings.model_copy(update={"loras": {"ink": LoraSource(source=str(lora))}})
    found = {check.name.partition(" /")[0]: check.level for check in check_models(settings)}
    assert found == {"model": "ok", "LoRA ink": "fail", "tiny decoder": "fail"}
    (folder / "text_encoder" / "model.safetensors").write_bytes(b"")
    check, pipeline = check_model(settings)
    assert (check.level, pipeline) == ("fail", None)
    assert "text_encoder: " in check.found
    assert "PANOWEAVE_MODEL" in check.remedy


def test_a_model_is_loaded_in_the_workers_number_format_where_half_precision_is_not_enough(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "model"))
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights["conv_in.bias"][0] = 1e6
    save_file(weights, file, metadata={"format": "pt"})
    settings = Settings(model=str(folder), device="cpu")
    assert check_model(settings)[0].level == "ok"
    check, _ = check_model(settings.model_copy(update={"dtype": "float16"}))
    assert (check.level, "not finite as torch.float16" in check.found) == ("fail", True)
