#include "vmm/boot/vdso.h"

#include <elf.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "vmm/boot/load_bytes.h"

namespace ftvmm::boot {

namespace {

using Bytes = std::span<const std::byte>;

// Linux maps the pages of an image as they are, so each starts at the start of one
// (arch/x86/entry/vdso/vdso2c.h).
constexpr std::uint64_t kPageBytes = 4096;
// Linux's have two or three pages and fewer than twenty sections.
constexpr std::size_t kMaxVdsoBytes = 64 << 10;
constexpr std::size_t kMaxSections = 64;

// A section header of either class.
struct Header {
    std::uint32_t name;
    std::uint32_t type;
    std::uint64_t flags;
    std::uint64_t offset;
    std::uint64_t bytes;
    std::uint32_t link;
};

struct Headers {
    std::vector<Header> all;
    std::size_t names;  // The index of .shstrtab.
    std::uint64_t end;  // Of the table in the image.
};

template <class Ehdr, class Shdr>
std::optional<Headers> read_headers(Bytes image) {
    const auto elf = load_bytes<Ehdr>(image, 0);
    if (!elf || elf->e_type != ET_DYN || elf->e_shentsize != sizeof(Shdr) ||
        elf->e_shnum > kMaxSections || elf->e_shstrndx >= elf->e_shnum) {
        return std::nullopt;
    }
    const auto table = slice(image, elf->e_shoff, elf->e_shnum * sizeof(Shdr));
    if (!table) return std::nullopt;
    Headers headers{{}, elf->e_shstrndx, elf->e_shoff + table->size()};
    for (std::size_t offset = 0; offset < table->size(); offset += sizeof(Shdr)) {
        const Shdr header = *load_bytes<Shdr>(*table, offset);
        headers.all.push_back({header.sh_name, header.sh_type, header.sh_flags, header.sh_offset,
                               header.sh_size, header.sh_link});
    }
    return headers;
}

// What its class and machine make of an image. Both classes have e_machine in the same place.
struct Kind {
    std::string_view name;
    CodeMode mode;
    bool is_class64;
};

std::optional<Kind> kind_of(Bytes image) {
    const auto elf = load_bytes<Elf32_Ehdr>(image, 0);
    if (!is_elf(image) || !elf || elf->e_ident[EI_DATA] != ELFDATA2LSB) return std::nullopt;
    const std::pair<int, int> kind(elf->e_ident[EI_CLASS], elf->e_machine);
    if (kind == std::pair(ELFCLASS64, EM_X86_64)) return Kind{"vDSO", CodeMode::k64Bit, true};
    if (kind == std::pair(ELFCLASS32, EM_X86_64)) return Kind{"x32 vDSO", CodeMode::k64Bit, false};
    if (kind == std::pair(ELFCLASS32, EM_386)) return Kind{"32-bit vDSO", CodeMode::k32Bit, false};
    return std::nullopt;
}

std::optional<Bytes> contents(Bytes image, const Header& header) {
    return slice(image, header.offset, header.bytes);
}

// Whether the strings of its dynamic symbols are a vDSO's: the soname or the one function that all
// of them have.
bool has_vdso_names(Bytes image, const Headers& headers) {
    constexpr std::array<std::string_view, 2> kNames{"linux-vdso.so", "__vdso_clock_gettime"};
    for (const Header& symbols : headers.all) {
        if (symbols.type != SHT_DYNSYM || symbols.link >= headers.all.size()) continue;
        const auto strings = contents(image, headers.all[symbols.link]);
        if (!strings) continue;
        const std::string_view text(reinterpret_cast<const char*>(strings->data()),
                                    strings->size());
        return std::ranges::any_of(
            kNames, [&](std::string_view name) { return text.find(name) != text.npos; });
    }
    return false;
}

struct Found {
    Vdso vdso;
    std::uint64_t end;  // In the image; behind the sections' headers and the code.
};

// The vDSO at the start of `image`, if there is one; offsets in it are the image's, as are
// addresses.
std::optional<Found> read_vdso(Bytes image) {
    const auto kind = kind_of(image);
    if (!kind) return std::nullopt;
    const auto headers = kind->is_class64 ? read_headers<Elf64_Ehdr, Elf64_Shdr>(image)
                                          : read_headers<Elf32_Ehdr, Elf32_Shdr>(image);
    if (!headers || !has_vdso_names(image, *headers)) return std::nullopt;
    const auto names = contents(image, headers->all[headers->names]);
    if (!names) return std::nullopt;
    Found found{{kind->mode, {}}, headers->end};
    std::uint64_t code_end = 0;
    for (const Header& header : headers->all) {
        if ((header.flags & SHF_EXECINSTR) == 0 || header.bytes == 0) continue;
        if (header.type != SHT_PROGBITS || !contents(image, header) || header.offset < code_end) {
            return std::nullopt;
        }
        code_end = header.offset + header.bytes;
        found.vdso.code.push_back({std::string(kind->name) + " " + load_string(*names, header.name),
                                   header.offset, header.bytes, header.offset, true, true});
    }
    if (found.vdso.code.empty()) return std::nullopt;
    found.end = std::max(found.end, code_end);
    return found;
}

std::uint64_t to_page(std::uint64_t address) {
    return (kPageBytes - address % kPageBytes) % kPageBytes;
}

}  // namespace

std::vector<Vdso> find_vdsos(Bytes bytes, const ElfFile& elf) {
    std::vector<Vdso> vdsos;
    for (const ElfSection& section : elf.sections) {
        if (section.executable || !section.loaded) continue;
        const auto data = slice(bytes, section.file_offset, section.bytes);
        FTVMM_CHECK(data.has_value(), "parse_elf keeps sections within their file");
        std::uint64_t offset = to_page(section.address);
        while (offset < data->size()) {
            const Bytes rest = data->subspan(offset);
            auto found = read_vdso(rest.first(std::min(rest.size(), kMaxVdsoBytes)));
            if (!found) {
                offset += kPageBytes;
                continue;
            }
            for (ElfSection& code : found->vdso.code) {
                code.file_offset += section.file_offset + offset;
                code.address += section.address + offset;
            }
            vdsos.push_back(std::move(found->vdso));
            offset += found->end + to_page(found->end);
        }
    }
    return vdsos;
}

}  // namespace ftvmm::boot
