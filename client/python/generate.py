"""What `generate` does, with its tools installed."""

import filecmp
import sys
import tempfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import unasync
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet, MethodOptions
from grpc_tools import protoc

HERE = Path(__file__).parent
PROTO = HERE.parent.parent / "proto"
SOURCES = HERE / "src" / "lanyard"
HEADER = "# Made by client/python/generate: do not edit.\n"
SYNC_OF = {"open_async_channel": "open_channel"}


def main(check: bool) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        package = Path(scratch) / "lanyard"
        files = compile_contract(Path(scratch))
        (package / "v1" / "__init__.py").write_text(messages(files))
        (package / "rpc.py").write_text(rpcs(files))
        (package / "enums.py").write_text(enums(files))
        make_sync_client(package)
        made = sorted(path.relative_to(package) for path in package.rglob("*.py*"))
        if check:
            sys.exit(differences(package, made))
        replace(package, made)


def compile_contract(out: Path) -> list[FileDescriptorProto]:
    """Compiles proto/ into `out`, and returns its descriptors, with comments."""
    names = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    descriptors = out / "descriptors.binpb"
    well_known = resources.files("grpc_tools") / "_proto"
    status = protoc.main(
        ["protoc", f"-I{PROTO}", f"-I{well_known}", f"--descriptor_set_out={descriptors}", "--include_source_info"]
        + [f"--{kind}_out=quiet:{out}" for kind in ("mypy", "mypy_grpc")]
        + [f"--{kind}_out={out}" for kind in ("python", "grpc_python")]
        + names
    )
    if status != 0:
        sys.exit(status)
    files = list(FileDescriptorSet.FromString(descriptors.read_bytes()).file)
    for file in files:
        if not file.service:
            # The plugins make a module without a line of code for these.
            for left_over in out.glob(file.name.removesuffix(".proto") + "_pb2_grpc.py*"):
                left_over.unlink()
    return files


def module(file: FileDescriptorProto) -> str:
    return Path(file.name).stem + "_pb2"


def messages(files: list[FileDescriptorProto]) -> str:
    """`lanyard.v1`: everything that the contract defines, under one name."""
    lines, exported = [HEADER + '"""The messages and enums of the contract: package `lanyard.v1`."""\n'], []
    for file in files:
        names = [message.name for message in file.message_type]
        for enum in file.enum_type:
            names += [enum.name, *(value.name for value in enum.value)]
        lines.append(f"from lanyard.v1.{module(file)} import (\n" + "".join(f"    {name},\n" for name in names) + ")")
        exported += names
    listed = "".join(f'    "{name}",\n' for name in sorted(exported))
    return "\n".join(lines) + f"\n\n__all__ = [\n{listed}]\n"


def rpcs(files: list[FileDescriptorProto]) -> str:
    """`lanyard.rpc`: each RPC with its messages."""
    lines = [HEADER + '"""The RPCs of the contract, for `Client.call` and `Subject.call`."""\n']
    served = [file for file in files if file.service]
    lines += ["from lanyard import v1", "from lanyard._rpc import Rpc, StreamRpc"]
    lines += [f"from lanyard.v1 import {module(file)}_grpc" for file in served]
    for file in served:
        for number, service in enumerate(file.service):
            comment = comment_of(file, [6, number])
            lines.append(f"\n\nclass {service.name}:\n{docstring(comment, 4)}")
            for place, method in enumerate(service.method):
                kind = "StreamRpc" if method.server_streaming else "Rpc"
                stub = f"{module(file)}_grpc.{service.name}Stub"
                is_read = method.options.idempotency_level == MethodOptions.NO_SIDE_EFFECTS
                lines.append(
                    f"    {method.name} = {kind}(\n"
                    f'        "{file.package}.{service.name}", "{method.name}", {stub},\n'
                    f"        v1.{last(method.input_type)}, v1.{last(method.output_type)}, is_read={is_read},\n"
                    f"    )\n{docstring(comment_of(file, [6, number, 2, place]), 4)}"
                )
    return "\n".join(lines) + "\n"


def enums(files: list[FileDescriptorProto]) -> str:
    """`lanyard.enums`: the enums of the contract as those of Python."""
    lines = [HEADER + '"""The enums of the contract. A value of the future is `UNSPECIFIED`."""\n']
    lines.append("from lanyard._enum import ContractEnum")
    for file in files:
        for number, enum in enumerate(file.enum_type):
            lines.append(f"\n\nclass {enum.name}(ContractEnum):\n{docstring(comment_of(file, [5, number]), 4)}\n")
            prefix = enum.value[0].name.removesuffix("UNSPECIFIED")
            for place, value in enumerate(enum.value):
                name = value.name.removeprefix(prefix)
                comment = docstring(comment_of(file, [5, number, 2, place]), 4)
                lines.append(f"    {name} = {value.number}\n{comment}")
    return "\n".join(lines) + "\n"


def last(type_name: str) -> str:
    return type_name.rpartition(".")[2]


def comment_of(file: FileDescriptorProto, path: list[int]) -> str:
    found = [place for place in file.source_code_info.location if list(place.path) == path]
    return found[0].leading_comments if found else ""


def docstring(comment: str, indent: int) -> str:
    lines = [line.strip() for line in comment.strip().splitlines()]
    return "\n".join((" " * indent + line).rstrip() for line in ('"""' + "\n".join(lines) + '"""').splitlines())


def make_sync_client(package: Path) -> None:
    """The same client without `async` and `await`."""
    rule = unasync.Rule("/_async/", "/_sync/", additional_replacements=SYNC_OF)
    with tempfile.TemporaryDirectory() as scratch:
        sources = Path(scratch) / "_async"
        sources.mkdir()
        for path in sorted((SOURCES / "_async").glob("*.py")):
            copy = sources / path.name
            copy.write_text(path.read_text().replace("lanyard._async", "lanyard._sync"))
            unasync.unasync_files([str(copy)], [rule])
            text = (Path(scratch) / "_sync" / path.name).read_text()
            (package / "_sync").mkdir(exist_ok=True)
            (package / "_sync" / path.name).write_text(HEADER + text)


def there() -> Iterator[Path]:
    """What was made before."""
    for folder in ("v1", "_sync"):
        yield from (path.relative_to(SOURCES) for path in sorted((SOURCES / folder).glob("*.py*")))
    yield from (Path(name) for name in ("rpc.py", "enums.py") if (SOURCES / name).exists())


def differences(package: Path, made: list[Path]) -> str | int:
    stale = {path for path in made if not same(package / path, SOURCES / path)} | (set(there()) - set(made))
    return "not as generated: " + ", ".join(sorted(map(str, stale))) if stale else 0


def same(one: Path, other: Path) -> bool:
    return other.exists() and filecmp.cmp(one, other, shallow=False)


def replace(package: Path, made: list[Path]) -> None:
    for path in there():
        (SOURCES / path).unlink()
    for path in made:
        (SOURCES / path).parent.mkdir(exist_ok=True)
        (SOURCES / path).write_bytes((package / path).read_bytes())


if __name__ == "__main__":
    main(check="--check" in sys.argv[1:])
