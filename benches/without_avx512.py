"""Keeps a package of compiled code from finding AVX-512, where it has no switch for that.

Programs learn what a processor has from its instruction `cpuid`. In a copy of the package each `cpuid` becomes `ud2`,
which is as long and which no processor executes: Linux sends the process SIGILL instead. Its handler executes `cpuid`,
takes AVX-512 and what goes with it out of the answer, and goes on behind the instruction. It takes any SIGILL for that:
a program that means to end itself by `ud2` goes on too. Libraries beside the package's folder are left as they are.
"""

import ctypes
import mmap
import shutil
import signal
import sys
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

from materials import FOLDER

CPUID, UD2 = b"\x0f\xa2", b"\x0f\x0b"
# The handler, in machine code: Python cannot run where the signal comes, in the middle of the dynamic linker's work.
#
#     push rbx
#     mov  r8, rdx                ; third argument: ucontext_t
#     mov  eax, [r8 + 0x90]       ; the leaf that was asked for
#     mov  ecx, [r8 + 0x98]       ; and the part of it
#     mov  r9d, eax
#     mov  r10d, ecx
#     cpuid
#     cmp  r9d, 7
#     jne  2f
#     test r10d, r10d
#     jne  1f
#     and  ebx, 0x23dcffff        ; F, DQ, IFMA, PF, ER, CD, BW, VL
#     and  ecx, 0xffffa7bd        ; VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ
#     and  edx, 0xfc3ffef3        ; 4VNNIW, 4FMAPS, VP2INTERSECT, FP16; AMX
#     jmp  2f
# 1:  cmp  r10d, 1
#     jne  2f
#     and  eax, 0xffdfffdf        ; BF16, AMX-FP16
#     and  edx, 0xfff7ffff        ; AVX10
# 2:  mov  [r8 + 0x80], rbx
#     mov  [r8 + 0x88], rdx
#     mov  [r8 + 0x90], rax
#     mov  [r8 + 0x98], rcx
#     add  qword ptr [r8 + 0xa8], 2
#     pop  rbx
#     ret
CODE = bytes.fromhex(
    "534989d0418b8090000000418b88980000004189c14189ca0fa24183f907752a4585d2751481e3ffffdc2381e1bda7ffff81"
    "e2f3fe3ffceb114183fa01750b25dfffdfff81e2fffff7ff4989988000000049899088000000498980900000004989889800"
    "0000498380a8000000025bc3"
)
SA_SIGINFO, SA_NODEFER = 4, 0x40000000


class Action(ctypes.Structure):
    """`struct sigaction` of x86-64 Linux."""

    _fields_ = [
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_ubyte * 128),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    ]


def prepare(package: str) -> str:
    """Makes the next `import` of the package that of its copy; what has been done to it."""
    folder = FOLDER / "without-avx512" / f"{package}-{version(package)}"
    if not folder.exists():
        _copy(package, folder)
    _install_handler()
    sys.path.insert(0, str(folder))
    return f"told that there is no AVX-512 ({(folder / 'replaced').read_text()} cpuid replaced)"


def _copy(package: str, folder: Path) -> None:
    """A copy whose libraries have no `cpuid`; whole or not there at all."""
    (found,) = {Path(path) / package for path in sys.path if (Path(path) / package / "__init__.py").exists()}
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(found, unfinished / package)
    replaced = sum(_replace(library) for library in unfinished.rglob("*.so*"))
    (unfinished / "replaced").write_text(str(replaced))
    unfinished.rename(folder)


def _replace(library: Path) -> int:
    with library.open("rb") as file:
        places = _places(file)
    code = bytearray(library.read_bytes())
    for place in places:
        assert code[place : place + 2] == CPUID, f"{library}: no cpuid at {place:#x}"
        code[place : place + 2] = UD2
    library.write_bytes(code)
    return len(places)


def _places(file: BinaryIO) -> list[int]:
    """Where in the file its code has the instruction: the bytes alone may be part of others."""
    import capstone
    from elftools.elf.constants import SH_FLAGS
    from elftools.elf.elffile import ELFFile

    disassembler = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    disassembler.skipdata = True
    places = []
    for section in ELFFile(file).iter_sections():
        if section["sh_flags"] & SH_FLAGS.SHF_EXECINSTR and CPUID in section.data():
            instructions = disassembler.disasm_lite(section.data(), section["sh_offset"])
            places += [address for address, _, name, _ in instructions if name == "cpuid"]
    return places


def _install_handler() -> None:
    global memory
    memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(CODE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    action = Action(handler=start, flags=SA_SIGINFO | SA_NODEFER)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.sigaction(signal.SIGILL, ctypes.byref(action), None):
        raise OSError(ctypes.get_errno(), "sigaction")
