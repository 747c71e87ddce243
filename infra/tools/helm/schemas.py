"""Makes the JSON schemas by which kubeconform checks the rendered chart.

    schemas.py DEST

Those of Kubernetes come from the wheel of kubernetes-validate, those of custom resources from the Go modules of their
operators. In all of them, a field that nobody knows is an error.
"""

import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import yaml

HERE = Path(__file__).parent
# The oldest that the chart takes, and the newest.
KUBERNETES = ["1.30.0", "1.37.0"]
CUSTOM = {
    "github.com/kedacore/keda/v2": ["config/crd/bases/keda.sh_scaledobjects.yaml"],
    "github.com/prometheus-operator/prometheus-operator": [
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    ],
}


def kubernetes(dest: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        subprocess.run([*pip, "--dest", folder, "--requirement", HERE / "requirements.txt"], check=True)
        [wheel] = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for version in KUBERNETES:
                made = dest / f"v{version}"
                made.mkdir()
                within = f"kubernetes_validate/kubernetes-json-schema/v{version}-local-strict/"
                for name in archive.namelist():
                    if name.startswith(within) and name.endswith(".json"):
                        text = archive.read(name).decode()
                        # Else the definitions would be looked for on the web.
                        schema = json.loads(text.replace('"/api/_definitions.json', '"_definitions.json'))
                        schema.pop("$id", None)
                        (made / Path(name).name).write_text(json.dumps(schema))


def custom(dest: Path) -> None:
    dest.mkdir()
    for module, files in CUSTOM.items():
        download = subprocess.run(
            ["go", "mod", "download", "-json", module], cwd=HERE.parent / "crds", check=True, stdout=subprocess.PIPE
        )
        source = Path(json.loads(download.stdout)["Dir"])
        for file in files:
            definition = yaml.safe_load((source / file).read_text())["spec"]
            for version in definition["versions"]:
                kind, group = definition["names"]["kind"].lower(), definition["group"].split(".")[0]
                schema = strict(version["schema"]["openAPIV3Schema"])
                (dest / f"{kind}-{group}-{version['name']}.json").write_text(json.dumps(schema))


def strict(schema):
    """The schema of a custom resource as plain JSON schema, in which other fields than those it names are errors."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: strict(value) for key, value in schema.items()}
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        result.setdefault("additionalProperties", False)
    return result


if __name__ == "__main__":
    [_, folder] = sys.argv
    kubernetes(Path(folder))
    custom(Path(folder) / "custom")
