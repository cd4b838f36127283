"""docs/cluster.md and what lies in deploy/ are true as far as that can be seen without a cluster."""

import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import jsonschema  # comes with Ray, which checks clusters with it
import pytest
import ray
import yaml
from readme import PROJECT, README, blocks, parsed

from study import spec

DEPLOY = PROJECT / "deploy"
PAGE = (PROJECT / "docs" / "cluster.md").read_text(encoding="utf-8")
STUDY = re.compile(r"python -m (?:study|analysis) [^;&'#]+")
PINNED = dict(re.findall(r"^([\w-]+)==(\S+)$", (PROJECT / "requirements.txt").read_text(), flags=re.MULTILINE))
ABOUT = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))


def read(name: str):
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


def shown() -> list[str]:
    """The page's commands, a line each."""
    lines = "\n".join(blocks("console", PAGE)).replace("\\\n", " ").splitlines()
    return [line.partition("  #")[0].strip() for line in lines if line.strip()]


def commands() -> list[str]:
    """Those of ours in the page and in what Kubernetes is told; the tests of slurm.sbatch see what that calls."""
    texts = [line.replace("sbatch deploy/slurm.sbatch", "python -m study run") for line in shown()]
    texts.append(read("rayjob.yaml")["spec"]["entrypoint"])
    return [found.strip() for text in texts for found in STUDY.findall(text)]


@pytest.mark.parametrize("command", commands())
def test_commands_parse(command, tmp_path):
    (tmp_path / "data").mkdir()  # --data names a folder that is there
    params = parsed(command.replace("/shared", str(tmp_path)))
    if "preset" in params:
        spec.load(params["preset"], params["set_"] or [])


def test_the_page_names_every_file_and_the_readme_the_page():
    assert {path.name for path in DEPLOY.iterdir()} == set(re.findall(r"\(\.\./deploy/([^)]+)\)", PAGE))
    assert "](docs/cluster.md)" in README


def test_the_script_is_sound():
    subprocess.run(["bash", "-n", DEPLOY / "slurm.sbatch"], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", "--shell=bash", DEPLOY / "slurm.sbatch"], check=True)


def objects(required: str, **properties) -> dict:
    """The schema of an object that has these fields and no other; those that are required are named in a line."""
    return {"type": "object", "required": required.split(), "properties": properties, "additionalProperties": False}


def lists(items: dict) -> dict:
    return {"type": "array", "minItems": 1, "items": items}


TEXT = {"type": "string"}
COUNT = {"type": "integer"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
QUANTITIES = {
    "type": "object",
    "additionalProperties": {"anyOf": [COUNT, TEXT], "pattern": r"^[0-9]+(\.[0-9]*)?([KMGTPE]i|[numkMGTPE])?$"},
}
POD = objects(
    "",
    spec=objects(
        "containers",
        containers=lists(
            objects(
                "name",
                name=TEXT,
                image=TEXT,
                env=lists(
                    objects(
                        "name",
                        name=TEXT,
                        value=TEXT,
                        valueFrom=objects("", secretKeyRef=objects("key", name=TEXT, key=TEXT, optional={})),
                    )
                ),
                resources=objects("", limits=QUANTITIES, requests=QUANTITIES),
                volumeMounts=lists(objects("mountPath name", name=TEXT, mountPath=TEXT, subPath=TEXT)),
            )
        ),
        volumes=lists(objects("name", name=TEXT, persistentVolumeClaim=objects("claimName", claimName=TEXT))),
    ),
)
RAYJOB = objects(
    "apiVersion kind metadata spec",
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=objects("name", name=TEXT),
    spec=objects(
        "",
        entrypoint=TEXT,
        backoffLimit=COUNT,
        shutdownAfterJobFinishes={"type": "boolean"},
        ttlSecondsAfterFinished=COUNT,
        submissionMode=TEXT,
        rayClusterSpec=objects(
            "headGroupSpec",
            rayVersion=TEXT,
            authOptions=objects("", mode={"enum": ["disabled", "token"]}, secretName=TEXT),
            headGroupSpec=objects("template", rayStartParams=TEXTS, template=POD),
            workerGroupSpecs=lists(
                objects(
                    "groupName maxReplicas minReplicas template",
                    groupName=TEXT,
                    replicas=COUNT,
                    minReplicas=COUNT,
                    maxReplicas=COUNT,
                    rayStartParams=TEXTS,
                    template=POD,
                )
            ),
        ),
    ),
)
"""Of KubeRay's CustomResourceDefinition rayjobs.ray.io, v1, the fields that we use and their neighbours
(helm-chart/kuberay-operator/crds/ray.io_rayjobs.yaml, v1.6.2). A field that it does not have is refused."""


def test_kuberay_takes_the_job():
    jsonschema.validate(read("rayjob.yaml"), RAYJOB)


@pytest.mark.parametrize("wrong", ["minReplicas", "headGroupSpec", "claimName"])
def test_kuberay_does_not_take_a_misspelt_one(wrong):
    text = (DEPLOY / "rayjob.yaml").read_text(encoding="utf-8")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(text.replace(wrong, wrong.swapcase())), RAYJOB)


def test_a_job_on_kubernetes_is_run_and_then_resumed(tmp_path):
    """With a stand-in for Python, and quoted again as `ray job submit` does, through which KubeRay sends it."""
    (tmp_path / "python").write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/calls\nexit $CODE\n')
    (tmp_path / "python").chmod(0o755)
    entrypoint = read("rayjob.yaml")["spec"]["entrypoint"].replace("/shared", str(tmp_path))
    sent = shlex.join(shlex.split(entrypoint))

    def begin(code: int) -> list[str]:
        (tmp_path / "calls").write_text("")
        env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CODE": str(code)}
        assert subprocess.run(sent, shell=True, env=env).returncode == code
        return [" ".join(line.split()[:4]) for line in (tmp_path / "calls").read_text().splitlines()]

    assert begin(0) == ["-m study datasets get", "-m study run vsc-mnist"]
    assert begin(1) == ["-m study datasets get"]
    (tmp_path / "runs" / "vsc-mnist").mkdir(parents=True)
    assert begin(0) == ["-m study datasets get", f"-m study resume {tmp_path}/runs/vsc-mnist"]


def test_all_machines_on_kubernetes_share_the_volume_and_the_head_alone_has_the_password():
    job, volume = read("rayjob.yaml")["spec"], read("volume.yaml")
    cluster = job["rayClusterSpec"]
    pods = [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
    assert volume["spec"]["accessModes"] == ["ReadWriteMany"]
    for pod in pods:
        [claimed], [container] = pod["volumes"], pod["containers"]
        assert claimed["persistentVolumeClaim"]["claimName"] == volume["metadata"]["name"]
        assert container["volumeMounts"] == [{"name": claimed["name"], "mountPath": "/shared"}]
    named = [[each["name"] for each in pod["containers"][0].get("env", [])] for pod in pods]
    assert named == [["LATENTSWEEP_STORAGE"], []]
    assert "valueFrom" in pods[0]["containers"][0]["env"][0]


def test_a_trial_fits_on_a_machine_on_kubernetes():
    job = read("rayjob.yaml")["spec"]
    [begins] = [command for command in commands() if "--wait --storage" in command]
    wanted = spec.load("vsc-mnist", parsed(begins.replace("/shared/data", "/"))["set_"]).resources
    limits = job["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert wanted.cpus <= float(limits["cpu"])
    assert 0 < wanted.gpus <= float(limits["nvidia.com/gpu"])


def test_ray_takes_its_cluster():
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    cluster = read("ray-up.yaml")
    jsonschema.validate(cluster, schema)
    assert cluster["head_node_type"] in cluster["available_node_types"]


def test_versions_are_those_that_were_tested():
    assert read("rayjob.yaml")["spec"]["rayClusterSpec"]["rayVersion"] == PINNED["ray"]
    image = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert "--constraint requirements.txt '.[cluster]'" in image  # where every version stands
    assert "ray==" not in image
    named = [re.findall(r"latentsweep:([\d.]+)", path.read_text(encoding="utf-8")) for path in DEPLOY.iterdir()]
    assert {version for versions in named for version in versions} == {ABOUT["project"]["version"]}


def test_the_image_is_made_of_what_is_installed():
    image = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    copied = {name for line in re.findall(r"^COPY (.+) \S+$", image, flags=re.MULTILINE) for name in line.split()}
    packages = {name for name in ABOUT["tool"]["setuptools"]["packages"]["find"]["include"] if "." not in name}
    about = {ABOUT["project"]["readme"], *ABOUT["project"]["license-files"]}
    assert copied == packages | about | {"pyproject.toml", "requirements.txt"}
