// What loading and patching a kernel need to know of its ELF file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "vmm/memory/gpa.h"

namespace ftvmm::boot {

// A PT_LOAD segment. Its bytes lie within the file; memory_bytes - file_bytes zeros follow them.
struct ElfSegment {
    std::uint64_t file_offset;
    std::uint64_t file_bytes;
    Gpa physical;
    std::uint64_t memory_bytes;

    [[nodiscard]] Gpa end() const { return physical + memory_bytes; }
};

// A section that has bytes in the file.
struct ElfSection {
    std::string name;
    std::uint64_t file_offset;
    std::uint64_t bytes;
    std::uint64_t address;  // Virtual, in bytes.
    bool executable;        // SHF_EXECINSTR
    bool loaded;            // SHF_ALLOC
};

// The facts of a file; its bytes stay with the caller.
struct ElfFile {
    Gpa entry;
    std::vector<ElfSegment> segments;      // By physical address, without overlap, at least one.
    std::vector<ElfSection> sections;      // Empty where the file has no section headers.
    std::vector<std::uint64_t> functions;  // Virtual addresses from .symtab, ascending.
};

[[nodiscard]] bool is_elf(std::span<const std::byte> bytes);

// Parses a little-endian x86-64 executable. Every offset and size in the result has been checked
// against the file; the entry, which a kernel may give as a virtual or a physical address, lies in
// an executable segment and is physical. Anything else is an error that says what is wrong.
Result<ElfFile> parse_elf(std::span<const std::byte> bytes);

}  // namespace ftvmm::boot
