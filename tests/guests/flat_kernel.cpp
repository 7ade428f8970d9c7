#include "flat_kernel.h"

#include <elf.h>

#include <cstdint>
#include <cstring>

#include "vmm/memory/gpa.h"

namespace ftvmm::guests {

namespace {

constexpr std::uint64_t kImage = 0x100000;  // guest.ld's.

template <class T>
void append(std::vector<std::byte>& bytes, const T& value) {
    const auto raw = std::as_bytes(std::span(&value, 1));
    bytes.insert(bytes.end(), raw.begin(), raw.end());
}

}  // namespace

std::vector<std::byte> make_kernel(std::span<const std::byte> image) {
    static constexpr char kNames[] = "\0.text\0.shstrtab";
    constexpr std::uint64_t kHeaders = sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr);
    Elf64_Ehdr header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_type = ET_EXEC;
    header.e_machine = EM_X86_64;
    header.e_entry = kImage;
    header.e_phoff = sizeof header;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = 1;
    header.e_shoff = kHeaders + image.size() + sizeof kNames;
    header.e_shentsize = sizeof(Elf64_Shdr);
    header.e_shnum = 3;
    header.e_shstrndx = 2;
    std::vector<std::byte> file;
    append(file, header);
    append(file, Elf64_Phdr{PT_LOAD, PF_X | PF_R | PF_W, kHeaders, kImage, kImage, image.size(),
                            image.size(), kPageBytes});
    file.insert(file.end(), image.begin(), image.end());
    append(file, kNames);
    append(file, Elf64_Shdr{});
    append(file, Elf64_Shdr{1, SHT_PROGBITS, SHF_EXECINSTR | SHF_ALLOC, kImage, kHeaders,
                            image.size(), 0, 0, 1, 0});
    append(file,
           Elf64_Shdr{7, SHT_STRTAB, 0, 0, kHeaders + image.size(), sizeof kNames, 0, 0, 1, 0});
    return file;
}

}  // namespace ftvmm::guests
