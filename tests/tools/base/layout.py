"""layout.py TAR LAYOUT NAME: makes an OCI layout with one gzip layer of a root file system's tar.

The same tar gives the same bytes, whatever the time and the machine. Standard library only.
"""

import gzip
import hashlib
import json
import os
import platform
import sys
from pathlib import Path

CREATED = "1980-01-01T00:00:00Z"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
MEDIA = "application/vnd.oci.image."
PIECE = 1 << 20


class Hashing:
    """Writes through to a file and hashes what passes."""

    def __init__(self, file):
        self.file, self.sha256, self.size = file, hashlib.sha256(), 0

    def write(self, data):
        self.sha256.update(data)
        self.size += len(data)
        return self.file.write(data)

    def flush(self):
        self.file.flush()


def descriptor(kind, sha256, size, **more):
    return {"mediaType": MEDIA + kind, "digest": "sha256:" + sha256, "size": size, **more}


def put_layer(tar, blobs):
    """Compresses the tar into the layout: (descriptor, diff id)."""
    diff_id = hashlib.sha256()
    part = blobs / "layer.part"
    with open(tar, "rb") as source, open(part, "wb") as file:
        out = Hashing(file)
        with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=out, mtime=0) as packed:
            while piece := source.read(PIECE):
                diff_id.update(piece)
                packed.write(piece)
    digest = out.sha256.hexdigest()
    os.rename(part, blobs / digest)
    return descriptor("layer.v1.tar+gzip", digest, out.size), "sha256:" + diff_id.hexdigest()


def put_json(kind, document, blobs, **more):
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    digest = hashlib.sha256(data).hexdigest()
    (blobs / digest).write_bytes(data)
    return descriptor(kind, digest, len(data), **more)


def main(tar, layout, name):
    blobs = Path(layout) / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    layer, diff_id = put_layer(tar, blobs)
    machine = platform.machine()
    architecture = ARCHITECTURES.get(machine, machine)
    config = {
        "architecture": architecture,
        "os": "linux",
        "created": CREATED,
        "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["bash"]},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": CREATED, "created_by": f"mmdebstrap {name}"}],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MEDIA + "manifest.v1+json",
        "config": put_json("config.v1+json", config, blobs),
        "layers": [layer],
    }
    entry = put_json(
        "manifest.v1+json",
        manifest,
        blobs,
        platform={"architecture": architecture, "os": "linux"},
        annotations={"org.opencontainers.image.ref.name": "latest"},
    )
    index = {"schemaVersion": 2, "mediaType": MEDIA + "index.v1+json", "manifests": [entry]}
    (Path(layout) / "index.json").write_text(json.dumps(index, sort_keys=True))
    (Path(layout) / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')


if __name__ == "__main__":
    main(*sys.argv[1:])
