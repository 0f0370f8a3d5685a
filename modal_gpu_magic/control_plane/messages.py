"""Build protobuf messages for any installed version of the SDK, and copy fields between messages."""

from __future__ import annotations

from typing import Any, TypeVar

from google.protobuf.message import Message

M = TypeVar("M", bound=Message)


def known(kind: type[M], **fields: Any) -> M:
    """Return a message with those of `fields` that the installed SDK's schema has; releases add and remove fields."""
    schema = kind.DESCRIPTOR.fields_by_name
    return kind(**{name: value for name, value in fields.items() if name in schema})


def shared_fields(source: Message, kind: type[M]) -> M:
    """Return a `kind` with all fields that `source` has under the same name and type."""
    target = kind()
    source_fields = source.DESCRIPTOR.fields_by_name
    for field in kind.DESCRIPTOR.fields:
        twin = source_fields.get(field.name)
        if (
            twin is None
            or twin.type != field.type
            or (twin.message_type is not field.message_type and not _is_map(field))
        ):
            continue
        _copy_field(source, target, field.name, field)
    return target


def _copy_field(source: Message, target: Message, name: str, field: Any) -> None:
    """Copy one field of any shape; an unset message or optional field stays unset."""
    value = getattr(source, name)
    if _is_map(field):
        _copy_map(value, getattr(target, name), field)
    elif field.is_repeated:
        getattr(target, name).extend(value)
    elif field.message_type is not None:
        if source.HasField(name):
            getattr(target, name).CopyFrom(value)
    elif not field.has_presence or source.HasField(name):
        setattr(target, name, value)


def _is_map(field: Any) -> bool:
    """Return whether a field is a map, which protobuf represents as repeated entries of a type of its own."""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _copy_map(source: Any, target: Any, field: Any) -> None:
    """Copy a map field; maps of messages do not support item assignment."""
    if field.message_type and field.message_type.fields_by_name["value"].message_type is None:
        target.update(source)
    else:
        for key, value in source.items():
            target[key].CopyFrom(value)
