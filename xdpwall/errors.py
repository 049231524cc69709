# SPDX-License-Identifier: Apache-2.0
"""Every error xdpwall raises on purpose, drawn as a tree.

Each error carries what a person needs: the message names the thing and the place, ``hint`` names the way out,
``exit_code`` is what the command line returns. Anything else that reaches the top is a bug and shows its traceback.

    XdpwallError                1  failed
    |- InputError               2  usage
    |  |- AddressError          2  an address, prefix or duration that cannot be read
    |  `- ConfigError           2  every fault of a config file at once
    |- NoControllerError        3  the controller does not answer
    |- NotFoundError            4  the thing asked for is not there
    |- RefusedError             5  asked for something xdpwall protects people from
    |  |- ProtectedError        5  a ban that covers a protected or allowlisted address
    |  `- ForeignProgramError   5  an XDP program on the interface that is not ours
    |- DataplaneError           1
    |  |- NotLoadedError        4  no wall is loaded for this instance
    |  |- KernelError           1  a system call failed
    |  |- CompileError          1  the C did not compile
    |  |- VerifierError         1  the kernel refused the program
    |  `- LayoutError           1  C, Python or a pinned map disagree
    |- MissingDependencyError   1  a package is not installed
    |- PrivilegeError           1  not root, or a capability is missing
    |- StoreError               1  the database
    |- BusyError                1  the controller talks to too many clients
    `- LabError                 1  the lab could not be built or driven
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

_MAX_ERRNO = 4096
"""Error numbers of the kernel are below (MAX_ERRNO of its include/linux/err.h)."""


class XdpwallError(Exception):
    """Base of all expected failures.

    Args:
        message: what failed, naming the thing and the place.
        hint: what the reader can do about it, or None.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InputError(XdpwallError):
    """What the user gave cannot be used as given."""

    exit_code = 2


class AddressError(InputError):
    """An address, prefix or duration that cannot be read."""


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One fault of a config file. ``line`` is 1-based, 0 when the fault has no place in the file."""

    key: str
    line: int
    message: str


class ConfigError(InputError):
    """All faults of one config file.

    Args:
        path: the file's path.
        problems: every fault found, in file order.
    """

    def __init__(self, path: str, problems: list[ConfigProblem]) -> None:
        count = len(problems)
        super().__init__(
            f"{path}: {count} problem{'s' if count != 1 else ''} in the configuration",
            hint="mend the lines named above, then try `xdpwall config check`",
        )
        self.path = path
        self.problems = problems


class NoControllerError(XdpwallError):
    """The controller of this instance does not answer on its socket."""

    exit_code = 3


class NotFoundError(XdpwallError):
    """The thing asked for does not exist."""

    exit_code = 4


class RefusedError(XdpwallError):
    """xdpwall declines to do this."""

    exit_code = 5


class ProtectedError(RefusedError):
    """A ban would cover an allowlisted or protected address."""


class ForeignProgramError(RefusedError):
    """An XDP program that is not ours sits on the interface."""


class DataplaneError(XdpwallError):
    """Something between Python and the kernel's BPF side failed."""


class NotLoadedError(DataplaneError):
    """No wall is loaded under this instance's pins."""

    exit_code = 4


_KERNEL_HINTS = {
    errno.ENOMEM: "the kernel is short of memory: free some, or make tables smaller (bans.capacity, meters.sources)",
    errno.EBUSY: "somebody else holds it: try again, and see `xdpwall doctor` if that does not help",
    errno.EMFILE: "this process may open too few files: raise its limit (ulimit -n, LimitNOFILE=)",
    errno.ENFILE: "the machine has too many open files: raise fs.file-max",
}


class KernelError(DataplaneError):
    """A system call failed.

    Args:
        what: the operation, for example ``"pin map ban4"``.
        errno_: the kernel's error number.
        hint: what the reader can do about it; None: what is usual for this number, if anything is.
    """

    def __init__(self, what: str, errno_: int, *, hint: str | None = None) -> None:
        words = os.strerror(errno_) if 0 <= errno_ < _MAX_ERRNO else "an error that is none"
        super().__init__(f"{what}: {words} (errno {errno_})", hint=hint or _KERNEL_HINTS.get(errno_))
        self.errno = errno_


class CompileError(DataplaneError):
    """The C of the data path did not compile. ``log`` is the compiler's output."""

    def __init__(self, message: str, log: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.log = log


class VerifierError(DataplaneError):
    """The kernel's verifier refused the program. ``log`` is its output."""

    def __init__(self, message: str, log: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.log = log


class LayoutError(DataplaneError):
    """A struct or map does not have the shape that the other side expects."""


class MissingDependencyError(XdpwallError):
    """A package that this verb needs is not installed."""


class PrivilegeError(XdpwallError):
    """The process lacks a right that this verb needs."""


class StoreError(XdpwallError):
    """The state database cannot be read or written."""


class BusyError(XdpwallError):
    """The controller has no place for another client just now: to ask again soon may help."""


class LabError(XdpwallError):
    """The lab could not be built or driven."""
