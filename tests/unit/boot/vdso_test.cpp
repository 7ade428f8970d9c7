#include "vmm/boot/vdso.h"

#include <elf.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch.hpp>

#include "base/random.h"
#include "vmm/boot/kernel_image.h"
#include "vmm/boot/tsc_patch.h"

namespace ftvmm::boot {
namespace {

using Bytes = std::vector<std::byte>;
using namespace std::string_view_literals;

constexpr std::uint64_t kVirtual = 0xffffffff81000000;
constexpr std::uint64_t kPage = 4096;

Bytes code_bytes(std::initializer_list<int> values) {
    Bytes bytes;
    for (const int value : values)
        bytes.push_back(static_cast<std::byte>(value));
    return bytes;
}
Bytes text_bytes(std::string_view text) {
    Bytes bytes;
    for (const char c : text)
        bytes.push_back(static_cast<std::byte>(c));
    return bytes;
}
template <class T>
void put(Bytes& bytes, std::uint64_t offset, const T& value) {
    std::memcpy(bytes.data() + offset, &value, sizeof value);
}

struct SectionParts {
    std::string name;
    unsigned type;
    unsigned flags;
    Bytes contents;
    unsigned link = 0;
    std::size_t alignment = 1;
};

struct FileParts {
    unsigned char file_class;
    unsigned type;
    unsigned machine;
    std::vector<SectionParts> sections;
    bool is_kernel = false;  // It has a program header and addresses from kVirtual on.
};

template <class Ehdr, class Phdr, class Shdr>
Bytes write_elf(const FileParts& parts) {
    Bytes bytes(sizeof(Ehdr) + sizeof(Phdr));
    std::vector<Shdr> table(1);
    std::string names(1, '\0');
    const auto append = [&](const SectionParts& section) {
        bytes.resize((bytes.size() + section.alignment - 1) / section.alignment *
                     section.alignment);
        Shdr header{};
        header.sh_name = static_cast<Elf64_Word>(names.size());
        header.sh_type = section.type;
        header.sh_flags = section.flags;
        header.sh_addr =
            static_cast<decltype(header.sh_addr)>((parts.is_kernel ? kVirtual : 0) + bytes.size());
        header.sh_offset = static_cast<decltype(header.sh_offset)>(bytes.size());
        header.sh_size = static_cast<decltype(header.sh_size)>(section.contents.size());
        header.sh_link = section.link;
        table.push_back(header);
        names += section.name + '\0';
        bytes.insert(bytes.end(), section.contents.begin(), section.contents.end());
    };
    for (const auto& section : parts.sections)
        append(section);
    append({".shstrtab", SHT_STRTAB, 0, text_bytes(names + ".shstrtab")});
    Ehdr header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = parts.file_class;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_type = static_cast<Elf64_Half>(parts.type);
    header.e_machine = static_cast<Elf64_Half>(parts.machine);
    header.e_shoff = static_cast<decltype(header.e_shoff)>(bytes.size());
    header.e_shentsize = sizeof(Shdr);
    header.e_shnum = static_cast<Elf64_Half>(table.size());
    header.e_shstrndx = static_cast<Elf64_Half>(table.size() - 1);
    if (parts.is_kernel) {
        header.e_phoff = sizeof(Ehdr);
        header.e_phentsize = sizeof(Phdr);
        header.e_phnum = 1;
        Phdr program{};
        program.p_type = PT_LOAD;
        program.p_flags = PF_R | PF_X;
        program.p_filesz = program.p_memsz = static_cast<decltype(program.p_filesz)>(bytes.size());
        put(bytes, sizeof(Ehdr), program);
    }
    put(bytes, 0, header);
    const auto* first = reinterpret_cast<const std::byte*>(table.data());
    bytes.insert(bytes.end(), first, first + table.size() * sizeof(Shdr));
    return bytes;
}

Bytes write(const FileParts& parts) {
    return parts.file_class == ELFCLASS64 ? write_elf<Elf64_Ehdr, Elf64_Phdr, Elf64_Shdr>(parts)
                                          : write_elf<Elf32_Ehdr, Elf32_Phdr, Elf32_Shdr>(parts);
}

// In 64-bit mode REX.W, which RDTSC may have in front, in 32-bit mode DEC EAX: a site in both. The
// constant that looks like one is MOV's in 64-bit mode; the same bytes in 32-bit mode are DEC EAX,
// MOV of four bytes to EAX and RDTSC.
const Bytes vdso_code = code_bytes(
    {0x48, 0x0f, 0x31, 0x90, 0x48, 0xb8, 0x90, 0x90, 0x90, 0x90, 0x0f, 0x31, 0x90, 0x90, 0xc3});
const Bytes vdso_code_in_64_bit = code_bytes(
    {0x48, 0x89, 0xc0, 0x90, 0x48, 0xb8, 0x90, 0x90, 0x90, 0x90, 0x0f, 0x31, 0x90, 0x90, 0xc3});
const Bytes vdso_code_in_32_bit = code_bytes(
    {0x48, 0x89, 0xc0, 0x90, 0x48, 0xb8, 0x90, 0x90, 0x90, 0x90, 0x89, 0xc0, 0x90, 0x90, 0xc3});
// lfence, rdtsc, rdtscp
const Bytes replacements = code_bytes({0x0f, 0xae, 0xe8, 0x0f, 0x31, 0x0f, 0x01, 0xf9});
const Bytes replacements_patched = code_bytes({0x0f, 0xae, 0xe8, 0x89, 0xc0, 0x89, 0xc0, 0x90});

FileParts vdso_parts(unsigned char file_class, unsigned machine) {
    return {file_class,
            ET_DYN,
            machine,
            {{".dynstr", SHT_STRTAB, SHF_ALLOC, text_bytes("\0__vdso_clock_gettime\0"sv)},
             {".dynsym", SHT_DYNSYM, SHF_ALLOC, Bytes(48), 1},
             {".rodata", SHT_PROGBITS, SHF_ALLOC, code_bytes({0x0f, 0x31})},
             {".text", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, vdso_code, 0, 16},
             {".altinstr_replacement", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, replacements}}};
}
const FileParts vdso64 = vdso_parts(ELFCLASS64, EM_X86_64);
const FileParts vdso_x32 = vdso_parts(ELFCLASS32, EM_X86_64);
const FileParts vdso32 = vdso_parts(ELFCLASS32, EM_386);

Bytes with_code(FileParts parts, const Bytes& text, const Bytes& alternatives) {
    parts.sections[3].contents = text;
    parts.sections[4].contents = alternatives;
    return write(parts);
}

// A kernel with `data` in its .data, which starts at a page.
Bytes kernel_with(const Bytes& data, unsigned data_flags = SHF_ALLOC | SHF_WRITE) {
    return write({ELFCLASS64,
                  ET_EXEC,
                  EM_X86_64,
                  {{".text", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, code_bytes({0x90, 0xc3})},
                   {".data", SHT_PROGBITS, data_flags, data, 0, kPage}},
                  true});
}
constexpr std::uint64_t kDataOffset = kPage;

struct Patched {
    TscPatchReport report;
    Bytes data;  // The kernel's .data.
};
Patched patch_kernel_with(const Bytes& data, unsigned data_flags = SHF_ALLOC | SHF_WRITE) {
    Bytes file = kernel_with(data, data_flags);
    const auto elf = parse_elf(file);
    if (!elf) FAIL(elf.error().line());
    auto report = patch_tsc(file, *elf);
    if (!report) FAIL(report.error().line());
    return {*report, Bytes(file.begin() + kDataOffset,
                           file.begin() + static_cast<std::ptrdiff_t>(kDataOffset + data.size()))};
}

void pad_to_page(Bytes& bytes) {
    bytes.resize((bytes.size() + kPage - 1) / kPage * kPage);
}

TEST_CASE("RDTSC is taken out of all kinds of vDSOs, each as its mode reads it") {
    Bytes data(2 * kPage, std::byte{0x0f});
    Bytes expected = data;
    const auto add = [&](const FileParts& parts, const Bytes& text) {
        const Bytes before = write(parts);
        const Bytes after = with_code(parts, text, replacements_patched);
        data.insert(data.end(), before.begin(), before.end());
        expected.insert(expected.end(), after.begin(), after.end());
        pad_to_page(data);
        pad_to_page(expected);
    };
    add(vdso64, vdso_code_in_64_bit);
    add(vdso_x32, vdso_code_in_64_bit);
    add(vdso32, vdso_code_in_32_bit);
    const auto [report, patched] = patch_kernel_with(data);
    CHECK(patched == expected);
    CHECK(report.vdsos == 3);
    CHECK(report.summary() ==
          "10 sites (vDSO .text 1, vDSO .altinstr_replacement 2, x32 vDSO .text 1, x32 vDSO "
          ".altinstr_replacement 2, 32-bit vDSO .text 2, 32-bit vDSO .altinstr_replacement 2) in "
          "the kernel and its 3 vDSOs");
}

TEST_CASE("A vDSO's sections are told by their places in the kernel") {
    Bytes data(kPage);
    const Bytes image = write(vdso64);
    data.insert(data.end(), image.begin(), image.end());
    const Bytes file = kernel_with(data);
    const auto elf = parse_elf(file);
    REQUIRE(elf);
    const auto vdsos = find_vdsos(file, *elf);
    REQUIRE(vdsos.size() == 1);
    CHECK(vdsos[0].mode == CodeMode::k64Bit);
    REQUIRE(vdsos[0].code.size() == 2);
    const ElfSection& text = vdsos[0].code[0];
    CHECK(text.name == "vDSO .text");
    CHECK(std::ranges::equal(std::span(file).subspan(text.file_offset, text.bytes), vdso_code));
    CHECK(text.address == kVirtual + text.file_offset);
}

TEST_CASE("A vDSO is known by its soname too") {
    FileParts parts = vdso64;
    parts.sections[0].contents = text_bytes("\0linux-vdso.so.1\0"sv);
    CHECK(patch_kernel_with(write(parts)).report.vdsos == 1);
}

TEST_CASE("What is no vDSO is left alone") {
    const auto left_alone = [](const Bytes& data, unsigned flags = SHF_ALLOC) {
        const auto [report, after] = patch_kernel_with(data, flags);
        return report.vdsos == 0 && report.sites() == 0 && after == data;
    };
    const Bytes image = write(vdso64);
    REQUIRE_FALSE(left_alone(image));
    CHECK(left_alone({}));
    CHECK(left_alone(image, 0));  // Not loaded.

    Bytes elsewhere(16);
    elsewhere.insert(elsewhere.end(), image.begin(), image.end());
    CHECK(left_alone(elsewhere));

    const auto changed = [](auto change) {
        FileParts parts = vdso64;
        change(parts);
        return write(parts);
    };
    CHECK(left_alone(changed([](FileParts& parts) { parts.type = ET_REL; })));
    CHECK(left_alone(changed([](FileParts& parts) { parts.machine = EM_386; })));
    CHECK(left_alone(changed([](FileParts& parts) { parts.machine = EM_AARCH64; })));
    CHECK(left_alone(changed([](FileParts& parts) { parts.file_class = ELFCLASSNONE; })));
    CHECK(left_alone(changed([](FileParts& parts) { parts.sections[1].type = SHT_PROGBITS; })));
    CHECK(left_alone(changed([](FileParts& parts) { parts.sections[1].link = 100; })));
    CHECK(left_alone(changed([](FileParts& parts) { parts.sections[3].type = SHT_NOBITS; })));
    CHECK(left_alone(changed(
        [](FileParts& parts) { parts.sections[0].contents = text_bytes("\0purgatory\0"sv); })));
    CHECK(left_alone(changed(
        [](FileParts& parts) { parts.sections[3].flags = parts.sections[4].flags = SHF_ALLOC; })));
    CHECK(left_alone(changed(
        [](FileParts& parts) { parts.sections[3].contents.resize(100'000, std::byte{0x90}); })));
}

TEST_CASE("A vDSO whose code sections overlap is none") {
    Bytes image = write(vdso64);
    Elf64_Ehdr header;
    std::memcpy(&header, image.data(), sizeof header);
    Elf64_Shdr text;
    std::memcpy(&text, image.data() + header.e_shoff + 4 * sizeof text, sizeof text);
    put(image, header.e_shoff + 5 * sizeof text, text);
    CHECK(patch_kernel_with(image).report.vdsos == 0);
}

TEST_CASE("A vDSO cut off at any length is left alone") {
    for (const FileParts& parts : {vdso64, vdso_x32, vdso32}) {
        const Bytes image = write(parts);
        for (std::size_t length = 0; length < image.size(); ++length) {
            const Bytes cut(image.begin(), image.begin() + static_cast<std::ptrdiff_t>(length));
            const auto [report, after] = patch_kernel_with(cut);
            INFO(length << " bytes");
            REQUIRE(report.vdsos == 0);
            REQUIRE(after == cut);
        }
        REQUIRE(patch_kernel_with(image).report.vdsos == 1);
    }
}

TEST_CASE("Whatever is damaged in a vDSO, nothing outside it changes") {
    constexpr std::size_t kImageAt = kPage;
    for (std::uint64_t seed = 0; seed < 6000; ++seed) {
        SeededEntropy entropy(seed);
        Bytes image = write(seed % 3 == 0 ? vdso64 : seed % 3 == 1 ? vdso_x32 : vdso32);
        const std::uint64_t damages = 1 + entropy.below(3);
        for (std::uint64_t i = 0; i < damages; ++i) {
            const auto bytes = std::size_t{1} << entropy.below(4);
            const auto target =
                std::span(image).subspan(entropy.below(image.size() - bytes), bytes);
            if (entropy.below(2) == 0) {
                entropy.fill(target);
            } else {
                std::ranges::fill(target, std::byte{0xff});
            }
        }
        // Behind it nothing, so that what reaches beyond it reaches beyond the kernel's .data.
        Bytes data(kImageAt, std::byte{0x0f});
        data.insert(data.end(), image.begin(), image.end());
        Bytes file = kernel_with(data);
        const Bytes before = file;
        const auto elf = parse_elf(file);
        REQUIRE(elf);
        INFO("seed " << seed);
        const auto report = patch_tsc(file, *elf);
        const auto start = static_cast<std::ptrdiff_t>(kDataOffset + kImageAt);
        const auto end = static_cast<std::ptrdiff_t>(kDataOffset + data.size());
        REQUIRE(std::equal(file.begin(), file.begin() + start, before.begin()));
        REQUIRE(std::equal(file.begin() + end, file.end(), before.begin() + end));
        if (!report || report->sites() == 0) REQUIRE(file == before);
    }
}

TEST_CASE("A vDSO that is no code is refused by its name and place, and nothing is patched") {
    Bytes file = kernel_with(with_code(vdso64, Bytes(200, std::byte{0x06}), replacements));
    const Bytes before = file;
    const auto elf = parse_elf(file);
    REQUIRE(elf);
    CHECK_THAT(patch_tsc(file, *elf).error().what(),
               Catch::Contains("200 of 200 bytes looked at in the kernel's vDSO .text"));
    CHECK(file == before);
}

// FTVMM_TEST_KERNEL names a real kernel to try; without it there is nothing to see.
TEST_CASE("The vDSOs of a real kernel named by FTVMM_TEST_KERNEL are patched as a sweep would") {
    const char* path = std::getenv("FTVMM_TEST_KERNEL");
    if (path == nullptr) return;
    std::ifstream file(path, std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    auto kernel = read_kernel(std::as_bytes(std::span(text)));
    REQUIRE(kernel);
    const auto vdsos = find_vdsos(kernel->bytes(), kernel->elf);
    CHECK_FALSE(vdsos.empty());
    const auto sweep = [&](const Vdso& vdso, const ElfSection& section) {
        return sweep_all(kernel->bytes().subspan(section.file_offset, section.bytes), {},
                         vdso.mode);
    };
    std::size_t sites = 0;
    for (const Vdso& vdso : vdsos) {
        for (const auto& section : vdso.code) {
            const auto code = kernel->bytes().subspan(section.file_offset, section.bytes);
            const TscSites whole = sweep(vdso, section);
            const TscSites near = sweep_candidates(code, {}, vdso.mode);
            INFO(section.name);
            CHECK(whole.undecoded_bytes == 0);
            CHECK(near.doubtful == std::nullopt);
            CHECK(near.sites == whole.sites);
            CHECK(near.lookalikes == whole.lookalikes);
            CHECK_FALSE(whole.sites.empty());
            sites += whole.sites.size();
        }
    }
    REQUIRE(patch_tsc(kernel->bytes(), kernel->elf));
    for (const Vdso& vdso : vdsos) {
        for (const auto& section : vdso.code)
            CHECK(sweep(vdso, section).sites.empty());
    }
    CHECK(find_vdsos(kernel->bytes(), kernel->elf).size() == vdsos.size());
    WARN(sites << " sites in " << vdsos.size() << " vDSOs");
}

}  // namespace
}  // namespace ftvmm::boot
