#include "vmm/boot/elf_file.h"

#include <elf.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>

#include "vmm/boot/load_bytes.h"

namespace ftvmm::boot {

namespace {

using Bytes = std::span<const std::byte>;

// A kernel has five program headers and fewer than a hundred sections; those built with a section
// per function are not linked that way.
constexpr std::size_t kMaxProgramHeaders = 64;
constexpr std::size_t kMaxSections = 4096;

Failure damaged(std::string what) {
    return fail("the kernel's ELF file is not sound: " + std::move(what),
                "the file may be damaged: install the kernel again");
}

Result<Elf64_Ehdr> parse_header(Bytes bytes) {
    const auto header = load_bytes<Elf64_Ehdr>(bytes, 0);
    if (!header) return damaged("its header is cut short");
    if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB ||
        header->e_machine != EM_X86_64) {
        return fail("the kernel is not for x86-64", "give a 64-bit x86 kernel");
    }
    if (header->e_type != ET_EXEC && header->e_type != ET_DYN) {
        return fail("the kernel's ELF file is no executable", "give the linked vmlinux");
    }
    if (header->e_phnum == 0 || header->e_phnum > kMaxProgramHeaders ||
        header->e_phentsize != sizeof(Elf64_Phdr)) {
        return damaged("its program headers have an odd number or size");
    }
    return *header;
}

struct Segments {
    std::vector<ElfSegment> segments;
    std::optional<Gpa> entry;
};

// The physical address that `entry` means in `header`, if it lies in it.
std::optional<Gpa> entry_in(const Elf64_Phdr& header, std::uint64_t entry) {
    if ((header.p_flags & PF_X) == 0) return std::nullopt;
    for (const std::uint64_t start : {header.p_paddr, header.p_vaddr}) {
        if (entry >= start && entry - start < header.p_filesz) {
            return Gpa(header.p_paddr + (entry - start));
        }
    }
    return std::nullopt;
}

Result<Segments> parse_segments(Bytes bytes, const Elf64_Ehdr& header) {
    Segments result;
    for (std::size_t i = 0; i < header.e_phnum; ++i) {
        if (header.e_phoff > bytes.size()) return damaged("its program headers are cut off");
        const auto program = load_bytes<Elf64_Phdr>(bytes, header.e_phoff + i * sizeof(Elf64_Phdr));
        if (!program) return damaged("its program headers are cut off");
        if (program->p_type != PT_LOAD || program->p_memsz == 0) continue;
        if (!slice(bytes, program->p_offset, program->p_filesz)) {
            return damaged(fmt::format("segment {} reaches beyond the end of the file", i));
        }
        if (program->p_memsz < program->p_filesz ||
            program->p_memsz > std::numeric_limits<std::uint64_t>::max() - program->p_paddr) {
            return damaged(fmt::format("segment {} has an impossible size", i));
        }
        result.segments.push_back(
            {program->p_offset, program->p_filesz, Gpa(program->p_paddr), program->p_memsz});
        if (!result.entry) result.entry = entry_in(*program, header.e_entry);
    }
    std::ranges::sort(result.segments, {}, &ElfSegment::physical);
    for (std::size_t i = 1; i < result.segments.size(); ++i) {
        if (result.segments[i].physical < result.segments[i - 1].end()) {
            return damaged(
                fmt::format("two segments overlap at {:#x}", result.segments[i].physical.value()));
        }
    }
    if (!result.entry) return damaged("its entry lies in no executable segment");
    return result;
}

std::vector<std::uint64_t> functions_of(Bytes symbols) {
    std::vector<std::uint64_t> functions;
    for (std::size_t offset = 0; offset < symbols.size(); offset += sizeof(Elf64_Sym)) {
        const auto symbol = load_bytes<Elf64_Sym>(symbols, offset);
        if (symbol && ELF64_ST_TYPE(symbol->st_info) == STT_FUNC && symbol->st_shndx != SHN_UNDEF) {
            functions.push_back(symbol->st_value);
        }
    }
    std::ranges::sort(functions);
    functions.erase(std::unique(functions.begin(), functions.end()), functions.end());
    return functions;
}

Result<void> parse_sections(Bytes bytes, const Elf64_Ehdr& header, ElfFile& elf) {
    if (header.e_shnum == 0) return {};
    const auto table = slice(bytes, header.e_shoff, header.e_shnum * sizeof(Elf64_Shdr));
    if (header.e_shnum > kMaxSections || header.e_shentsize != sizeof(Elf64_Shdr) || !table) {
        return damaged("its section headers are cut off");
    }
    const auto header_at = [&](std::size_t i) {
        return *load_bytes<Elf64_Shdr>(*table, i * sizeof(Elf64_Shdr));
    };
    Bytes names;
    if (header.e_shstrndx < header.e_shnum) {
        const Elf64_Shdr strings = header_at(header.e_shstrndx);
        names = slice(bytes, strings.sh_offset, strings.sh_size).value_or(Bytes());
    }
    for (std::size_t i = 0; i < header.e_shnum; ++i) {
        const Elf64_Shdr section = header_at(i);
        if (section.sh_type == SHT_NOBITS || section.sh_type == SHT_NULL) continue;
        const auto contents = slice(bytes, section.sh_offset, section.sh_size);
        if (!contents) return damaged(fmt::format("section {} is cut off", i));
        if (section.sh_type == SHT_SYMTAB) elf.functions = functions_of(*contents);
        elf.sections.push_back({load_string(names, section.sh_name), section.sh_offset,
                                section.sh_size, section.sh_addr,
                                (section.sh_flags & SHF_EXECINSTR) != 0,
                                (section.sh_flags & SHF_ALLOC) != 0});
    }
    return {};
}

}  // namespace

bool is_elf(Bytes bytes) {
    return bytes.size() >= SELFMAG && std::memcmp(bytes.data(), ELFMAG, SELFMAG) == 0;
}

Result<ElfFile> parse_elf(Bytes bytes) {
    if (!is_elf(bytes)) return fail("the kernel is no ELF file");
    FTVMM_ASSIGN(const Elf64_Ehdr header, parse_header(bytes));
    FTVMM_ASSIGN(Segments segments, parse_segments(bytes, header));
    ElfFile elf{*segments.entry, std::move(segments.segments), {}, {}};
    FTVMM_TRY(parse_sections(bytes, header, elf));
    return elf;
}

}  // namespace ftvmm::boot
