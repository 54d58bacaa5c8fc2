"""What is raised, and what it says."""

from typing import Never, assert_type

from verytmp import UnsupportedOperation, VeryTmpError, VeryTmpPath, VeryTmpRoot, VeryTmpUnavailable


def root_or_reason() -> VeryTmpRoot | str:
    try:
        return VeryTmpRoot()
    except VeryTmpUnavailable as error:
        assert_type(error.step, str)
        assert_type(error.reason, str)
        assert_type(error.remedy, str)
        assert_type(error.errno, int | None)
        return f"{error.step}: {error.remedy}"


def any_failure(error: VeryTmpError) -> OSError:
    return error


def home() -> Never:
    try:
        VeryTmpPath.home()
    except UnsupportedOperation as error:
        unsupported: NotImplementedError = error
        raise unsupported from None


errors: tuple[type[OSError], ...] = (VeryTmpError, VeryTmpUnavailable)
