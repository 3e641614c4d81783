"""manifests.py FOLDER: holds every X.yaml of a folder against X.json, the same objects, and against Kubernetes.

Read back by PyYAML, which is YAML 1.1 as kubectl's reader, the text must be the JSON. Every object must be valid for the
schemas of an old and a new API server, which know no other keys; and must hold together in what schemas do not say.
Runs in the environment of `make target/tools/kubernetes`. Prints what is wrong, a line each.
"""

import json
import re
import sys
from pathlib import Path

import kubernetes_validate
import yaml

VERSIONS = ("1.29", "1.37")
LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
PORT = re.compile(r"(?=.*[a-z])[a-z0-9]([-a-z0-9]*[a-z0-9])?")
UNITS = {"": 1, "m": 0.001, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
wrong = []


def hold(truth, file, what):
    if not truth:
        wrong.append(f"{file}: {what}")


def amount(text):
    number, unit = re.fullmatch(r"([0-9.]+)([a-zA-Z]*)", text).groups()
    return float(number) * UNITS[unit]


def unique(file, what, values):
    values = list(values)
    hold(len(values) == len(set(values)), file, f"{what} are not unique: {values}")


def within(labels, selector):
    return all(labels.get(key) == value for key, value in selector.items())


def sound_container(file, container, volumes):
    unique(file, "variables", (env["name"] for env in container.get("env", [])))
    ports = container.get("ports", [])
    unique(file, "ports", ((port["containerPort"], port["protocol"]) for port in ports))
    unique(file, "names of ports", (port["name"] for port in ports))
    for port in ports:
        hold(len(port["name"]) <= 15 and PORT.fullmatch(port["name"]) and "--" not in port["name"], file, f"port {port}")
    mounts = container.get("volumeMounts", [])
    unique(file, "mounts", (mount["mountPath"] for mount in mounts))
    for mount in mounts:
        hold(mount["name"] in volumes, file, f"{mount['mountPath']} mounts {mount['name']}, which is not there")
        hold(mount["mountPath"].startswith("/") and ":" not in mount["mountPath"], file, f"path {mount['mountPath']}")
        hold(".." not in mount.get("subPath", "").split("/"), file, f"subPath {mount}")
    for name in ("readinessProbe", "startupProbe"):
        probe = container.get(name)
        if probe:
            hold(min(probe["periodSeconds"], probe["timeoutSeconds"], probe["failureThreshold"]) >= 1, file, name)
    security = container.get("securityContext", {})
    hold(not (security.get("privileged") and security.get("allowPrivilegeEscalation") is False), file, "privileges")
    resources = container.get("resources", {})
    for what, request in resources.get("requests", {}).items():
        limit = resources.get("limits", {}).get(what)
        hold(limit is None or amount(request) <= amount(limit), file, f"{what}: {request} > {limit}")


def sound_workload(file, item):
    spec, template = item["spec"], item["spec"]["template"]
    labels, pod = template["metadata"]["labels"], template["spec"]
    if item["kind"] == "Job":
        hold(pod["restartPolicy"] in ("Never", "OnFailure"), file, "restartPolicy")
    else:
        hold(within(labels, spec["selector"]["matchLabels"]), file, "the selector does not find the pods")
        hold("restartPolicy" not in pod, file, "restartPolicy")
    volumes = [volume["name"] for volume in pod.get("volumes", [])]
    volumes += [claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])]
    unique(file, "volumes", volumes)
    hold(all(len(name) <= 63 and LABEL.fullmatch(name) for name in volumes), file, f"volumes {volumes}")
    for container in pod["containers"]:
        hold(LABEL.fullmatch(container["name"]), file, f"container {container['name']}")
        sound_container(file, container, volumes)
    hold(pod["securityContext"].get("runAsUser") != 0 or not pod["securityContext"].get("runAsNonRoot"), file, "root")


def sound(file, items):
    """What the API server checks beside the schemas, and what makes the objects find one another."""
    titles = [(item["kind"], item["metadata"]["name"]) for item in items]
    unique(file, "objects", titles)
    pods = {}
    for item in items:
        kind, metadata = item["kind"], item["metadata"]
        where = f"{file}: {kind}/{metadata['name']}"
        hold(len(metadata["name"]) <= 63 and LABEL.fullmatch(metadata["name"]), where, "name")
        hold(kind != "Secret", where, "a manifest must not have a Secret")
        found = [metadata, item.get("spec", {}).get("template", {}).get("metadata", {})]
        for value in (value for one in found for value in one.get("labels", {}).values()):
            hold(len(value) <= 63 and VALUE.fullmatch(value), where, f"label {value}")
        if kind in ("Deployment", "StatefulSet", "Job"):
            pods[metadata["name"]] = item["spec"]["template"]
            sound_workload(where, item)
    labels = [pod["metadata"]["labels"] for pod in pods.values()]
    policies = [item["spec"] for item in items if item["kind"] == "NetworkPolicy"]
    for one in labels:
        selected = [policy for policy in policies if within(one, policy["podSelector"]["matchLabels"])]
        hold(any("Egress" in policy["policyTypes"] for policy in selected), file, f"no policy selects {one}")
    for policy in policies:
        hold(any(within(one, policy["podSelector"]["matchLabels"]) for one in labels), file, "a policy selects nobody")
    headless = set()
    for item in (item for item in items if item["kind"] == "Service"):
        spec, name = item["spec"], item["metadata"]["name"]
        ports = spec.get("ports", [])
        unique(file, "ports of a Service", ((port["port"], port["protocol"]) for port in ports))
        unique(file, "names of ports of a Service", (port["name"] for port in ports))
        hold(any(within(one, spec["selector"]) for one in labels), file, f"the Service {name} selects nobody")
        hold(ports or spec.get("clusterIP") == "None", file, f"the Service {name} has no ports")
        if spec.get("clusterIP") == "None":
            headless.add(name)
    for item in (item for item in items if item["kind"] == "StatefulSet"):
        hold(item["spec"]["serviceName"] in headless, file, "a StatefulSet without its Service")
    maps = {item["metadata"]["name"]: item for item in items if item["kind"] == "ConfigMap"}
    for pod in pods.values():
        keys = {mount["name"]: mount.get("subPath") for mount in pod["spec"]["containers"][0].get("volumeMounts", [])}
        for volume in pod["spec"].get("volumes", []):
            config = maps.get(volume.get("configMap", {}).get("name"))
            if config:
                data = {**config.get("data", {}), **config.get("binaryData", {})}
                hold(keys[volume["name"]] in data, file, f"the ConfigMap has no {keys[volume['name']]}")


def main(folder):
    texts = sorted(Path(folder).glob("*.yaml"))
    hold(texts, folder, "no manifests")
    for text in texts:
        read = [one for one in yaml.safe_load_all(text.read_text(encoding="utf-8")) if one is not None]
        told = json.loads(text.with_suffix(".json").read_text(encoding="utf-8"))
        items = told["items"] if told.get("kind") == "List" else [told]
        hold(read == items, text.name, "YAML and JSON differ")
        if "items" not in told:
            continue
        for item in read:
            for version in VERSIONS:
                try:
                    kubernetes_validate.validate(item, version, strict=True)
                except Exception as error:  # noqa: BLE001
                    message = str(getattr(error, "message", error))[:300]
                    wrong.append(f"{text.name}: {item['kind']}/{item['metadata']['name']} for {version}: {message}")
        sound(text.name, read)
    print("\n".join(wrong) if wrong else f"{len(texts)} files are valid")
    return bool(wrong)


sys.exit(main(sys.argv[1]))
