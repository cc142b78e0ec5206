"""Tagged unions whose wrong tag does not hide the other problems of the same object."""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple, get_args

from pydantic import Field, GetCoreSchemaHandler, ValidationError, ValidatorFunctionWrapHandler
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from rdrkd.suggestion import nearest


class Tagged(NamedTuple):
    """Mark a union by the field that tells its members apart; Pydantic alone reports no other problem if it is wrong.

    >>> from pydantic import BaseModel, TypeAdapter
    >>> from typing import Literal
    >>> class Cat(BaseModel):
    ...     kind: Literal["cat"]
    ...     lives: int
    >>> class Dog(BaseModel):
    ...     kind: Literal["dog"]
    ...     tricks: int
    >>> try:
    ...     pet = TypeAdapter(Annotated[Cat | Dog, Tagged("kind")]).validate_python({"kind": "kat", "lives": "x"})
    ... except ValidationError as error:
    ...     print([(each["type"], each["loc"]) for each in error.errors()])
    [('union_tag_invalid', ()), ('int_parsing', ('lives',))]
    """

    field: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate an object with a wrong tag a second time, as the member that was probably meant."""
        union = handler.generate_schema(Annotated[source, Field(discriminator=self.field)])
        fields = {tag: set(member.model_fields) for member in get_args(source)
                  for tag in get_args(member.model_fields[self.field].annotation)}  # fmt: skip

        def validate(value: Any, validator: ValidatorFunctionWrapHandler) -> Any:
            try:
                return validator(value)
            except ValidationError as error:
                errors = error.errors(include_url=False)
                wrong = not errors[0]["loc"] and errors[0]["type"].startswith("union_tag_")
                meant = _meant(value, self.field, fields) if wrong and isinstance(value, Mapping) else None
                if meant is None:
                    raise
                details = [_again(each, 0) for each in errors]
            try:
                validator({**value, self.field: meant})
            except ValidationError as others:
                details += [_again(each, 1) for each in others.errors(include_url=False)]  # without the tag
            raise ValidationError.from_exception_data("refused", details)

        return core_schema.no_info_wrap_validator_function(validate, union)


def _meant(value: Mapping[str, Any], field: str, fields: Mapping[str, set[str]]) -> str | None:
    """Return the tag that is similar to the object's, else that of the one member with most of the object's fields."""
    if (near := nearest(str(value.get(field, "")), fields)) is not None:
        return near
    shared = {tag: len(names & (value.keys() - {field})) for tag, names in fields.items()}
    best = [tag for tag, count in shared.items() if count == max(shared.values())]
    return best[0] if len(best) == 1 else None


def _again(error: Mapping[str, Any], skipped: int) -> InitErrorDetails:
    """Return an error for another exception, without the first steps of its location."""
    kind = PydanticCustomError(error["type"], "{message}", {**error.get("ctx", {}), "message": error["msg"]})
    return InitErrorDetails(type=kind, loc=error["loc"][skipped:], input=error["input"])
