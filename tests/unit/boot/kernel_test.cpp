#include <asm/bootparam.h>
#include <elf.h>
#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

#include <catch2/catch.hpp>

#include "vmm/boot/kernel_image.h"
#include "vmm/boot/payload.h"
#include "vmm/boot/tsc_patch.h"
#include "vmm/boot/tsc_sites.h"

namespace ftvmm::boot {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::uint64_t kPhysical = 0x200000;
constexpr std::uint64_t kVirtual = 0xffffffff81000000;
constexpr std::uint64_t kCodeOffset = 0x200;
constexpr std::uint64_t kMemoryBytes = 0x4000;

template <class T>
void put(Bytes& bytes, std::uint64_t offset, const T& value) {
    if (bytes.size() < offset + sizeof value) bytes.resize(offset + sizeof value);
    std::memcpy(bytes.data() + offset, &value, sizeof value);
}

Bytes code_bytes(std::initializer_list<int> values) {
    Bytes bytes;
    for (const int value : values)
        bytes.push_back(static_cast<std::byte>(value));
    return bytes;
}

// One segment and, by choice, an executable .text and .init.text that share `code` in halves.
Bytes make_elf(const Bytes& code, bool with_sections = true, std::size_t split = 0) {
    Bytes bytes(kCodeOffset);
    Elf64_Ehdr header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_type = ET_EXEC;
    header.e_machine = EM_X86_64;
    header.e_entry = kPhysical;
    header.e_phoff = sizeof header;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = 1;
    Elf64_Phdr program{PT_LOAD,
                       PF_X | PF_R,
                       kCodeOffset,
                       kVirtual,
                       kPhysical,
                       code.size(),
                       std::max(kMemoryBytes, code.size()),
                       0x1000};
    put(bytes, sizeof header, program);
    bytes.insert(bytes.end(), code.begin(), code.end());
    if (with_sections) {
        const std::string names("\0.text\0.init.text\0.shstrtab\0", 28);
        const std::uint64_t names_offset = bytes.size();
        for (const char c : names)
            bytes.push_back(static_cast<std::byte>(c));
        header.e_shoff = bytes.size();
        header.e_shentsize = sizeof(Elf64_Shdr);
        header.e_shnum = 4;
        header.e_shstrndx = 3;
        const auto section = [&](unsigned name, unsigned type, std::uint64_t flags,
                                 std::uint64_t address, std::uint64_t offset, std::uint64_t size) {
            put(bytes, bytes.size(),
                Elf64_Shdr{name, type, flags, address, offset, size, 0, 0, 1, 0});
        };
        section(0, SHT_NULL, 0, 0, 0, 0);
        section(1, SHT_PROGBITS, SHF_EXECINSTR, kVirtual, kCodeOffset, split);
        section(7, SHT_PROGBITS, SHF_EXECINSTR, kVirtual + split, kCodeOffset + split,
                code.size() - split);
        section(18, SHT_STRTAB, 0, 0, names_offset, names.size());
    }
    put(bytes, 0, header);
    return bytes;
}

Bytes with_size(Bytes packed, std::size_t unpacked_bytes) {
    put(packed, packed.size(), static_cast<std::uint32_t>(unpacked_bytes));
    return packed;
}

Bytes pack_zstd(const Bytes& bytes) {
    Bytes packed(::ZSTD_compressBound(bytes.size()));
    packed.resize(::ZSTD_compress(packed.data(), packed.size(), bytes.data(), bytes.size(), 1));
    return with_size(packed, bytes.size());
}

Bytes pack_lz4(const Bytes& bytes) {
    Bytes packed(8 + static_cast<std::size_t>(::LZ4_compressBound(static_cast<int>(bytes.size()))));
    const int size = ::LZ4_compress_default(
        reinterpret_cast<const char*>(bytes.data()), reinterpret_cast<char*>(packed.data()) + 8,
        static_cast<int>(bytes.size()), static_cast<int>(packed.size()) - 8);
    put(packed, 0, std::uint32_t{0x184c2102});
    put(packed, 4, size);
    packed.resize(8 + static_cast<std::size_t>(size));
    return with_size(packed, bytes.size());
}

Bytes pack_xz(const Bytes& bytes) {
    lzma_options_lzma options{};
    ::lzma_lzma_preset(&options, 1);
    lzma_filter filters[] = {
        {LZMA_FILTER_X86, nullptr}, {LZMA_FILTER_LZMA2, &options}, {LZMA_VLI_UNKNOWN, nullptr}};
    Bytes packed(::lzma_stream_buffer_bound(bytes.size()));
    std::size_t size = 0;
    REQUIRE(::lzma_stream_buffer_encode(
                filters, LZMA_CHECK_CRC32, nullptr,
                reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size(),
                reinterpret_cast<std::uint8_t*>(packed.data()), &size, packed.size()) == LZMA_OK);
    packed.resize(size);
    return with_size(packed, bytes.size());
}

Bytes pack_gzip(const Bytes& bytes) {
    z_stream stream{};
    REQUIRE(deflateInit2(&stream, 1, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    Bytes packed(::deflateBound(&stream, bytes.size()));
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(bytes.data()));
    stream.avail_in = static_cast<uInt>(bytes.size());
    stream.next_out = reinterpret_cast<Bytef*>(packed.data());
    stream.avail_out = static_cast<uInt>(packed.size());
    REQUIRE(::deflate(&stream, Z_FINISH) == Z_STREAM_END);
    packed.resize(stream.total_out);
    ::deflateEnd(&stream);
    return packed;
}

Bytes make_bzimage(const Bytes& payload) {
    Bytes file(1024);
    setup_header setup{};
    setup.setup_sects = 1;
    setup.jump = 0x66eb;  // jmp +0x66, over the header.
    setup.boot_flag = 0xaa55;
    setup.header = 0x53726448;
    setup.version = 0x20f;
    setup.xloadflags = XLF_KERNEL_64;
    setup.cmdline_size = 2047;
    setup.initrd_addr_max = 0x7fffffff;
    setup.payload_length = static_cast<std::uint32_t>(payload.size());
    put(file, 0x1f1, setup);
    file.insert(file.end(), payload.begin(), payload.end());
    return file;
}

// nop, rdtsc, mov $0x310f,%eax, rdtscp, ret
const Bytes sample_code =
    code_bytes({0x90, 0x0f, 0x31, 0xb8, 0x0f, 0x31, 0, 0, 0x0f, 0x01, 0xf9, 0xc3});

TEST_CASE("A kernel is unpacked from each compression that distributions use") {
    const Bytes elf = make_elf(sample_code);
    for (const auto pack : {pack_gzip, pack_xz, pack_lz4, pack_zstd}) {
        const auto kernel = read_kernel(make_bzimage(pack(elf)));
        REQUIRE(kernel);
        CHECK(std::ranges::equal(kernel->bytes(), elf));
        CHECK(kernel->elf.entry == Gpa(kPhysical));
        CHECK(kernel->header.protocol == 0x20f);
        CHECK(kernel->setup_header.size() == 0x268 - 0x1f1);
        CHECK(kernel->setup_header[0x206 - 0x1f1] == std::byte{0x0f});
    }
}

TEST_CASE("A kernel cut off at any length is refused, whatever its compression") {
    const Bytes elf = make_elf(sample_code);
    for (const auto pack : {pack_gzip, pack_xz, pack_lz4, pack_zstd}) {
        const Bytes file = make_bzimage(pack(elf));
        for (std::size_t length = 0; length < file.size(); ++length)
            CHECK_FALSE(read_kernel(std::span(file).first(length)));
    }
    for (std::size_t length = 0; length < elf.size(); ++length)
        CHECK_FALSE(read_kernel(std::span(elf).first(length)));
}

TEST_CASE("A setup header is kept to the end that it states, if that is where it can end") {
    Bytes file = make_bzimage(pack_zstd(make_elf(sample_code)));
    put(file, 0x201, std::uint8_t{0x6a});
    CHECK(read_kernel(file)->setup_header.size() == 0x26c - 0x1f1);
    put(file, 0x201, std::uint8_t{0xff});
    CHECK(read_kernel(file)->setup_header.size() == 0x290 - 0x1f1);
    put(file, 0x201, std::uint8_t{0x65});
    const auto kernel = read_kernel(file);
    REQUIRE_FALSE(kernel);
    CHECK_THAT(kernel.error().what(), Catch::Contains("setup header"));
}

TEST_CASE("A payload that names a monstrous size is refused before it is unpacked") {
    Bytes packed = pack_zstd(make_elf(sample_code));
    put(packed, packed.size() - 4, std::uint32_t{0xffffffff});
    const auto kernel = read_kernel(make_bzimage(packed));
    REQUIRE_FALSE(kernel);
    CHECK_THAT(kernel.error().what(), Catch::Contains("4294967295"));
}

TEST_CASE("A kernel is copied to its physical address and what follows it is zeroed") {
    const auto kernel = read_kernel(make_elf(sample_code));
    REQUIRE(kernel);
    const auto memory = GuestMemory::create(16 << 20);
    REQUIRE(memory);
    memory->find(Gpa(kPhysical + sample_code.size()), 1)[0] = std::byte{7};
    const auto loaded = load_kernel(*kernel, *memory);
    REQUIRE(loaded);
    CHECK(loaded->end == Gpa(kPhysical + kMemoryBytes));
    CHECK(std::memcmp(memory->find(Gpa(kPhysical), 1).data(), sample_code.data(),
                      sample_code.size()) == 0);
    CHECK(memory->find(Gpa(kPhysical + sample_code.size()), 1)[0] == std::byte{0});
}

TEST_CASE("A kernel that does not fit the guest's memory is an error with advice") {
    const auto kernel = read_kernel(make_elf(sample_code));
    const auto memory = GuestMemory::create(2 << 20);
    REQUIRE((kernel && memory));
    const auto loaded = load_kernel(*kernel, *memory);
    REQUIRE_FALSE(loaded);
    CHECK(loaded.error().advice() == "give the VM more memory");
}

TEST_CASE("A program that wants memory below where kernels go is told from a kernel") {
    Bytes elf = make_elf(sample_code);
    put(elf, sizeof(Elf64_Ehdr) + offsetof(Elf64_Phdr, p_paddr), std::uint64_t{0});
    put(elf, offsetof(Elf64_Ehdr, e_entry), std::uint64_t{0});
    const auto kernel = read_kernel(elf);
    const auto memory = GuestMemory::create(16 << 20);
    REQUIRE((kernel && memory));
    const auto loaded = load_kernel(*kernel, *memory);
    REQUIRE_FALSE(loaded);
    CHECK_THAT(loaded.error().what(), Catch::Contains("no kernel"));
}

TEST_CASE(
    "Every section's RDTSC and RDTSCP are replaced, and an immediate that looks alike stays") {
    auto kernel = read_kernel(make_elf(sample_code, true, 8));
    REQUIRE(kernel);
    const auto report = patch_tsc(kernel->bytes(), kernel->elf);
    REQUIRE(report);
    REQUIRE(report->sections.size() == 2);
    CHECK(report->sections[0].name == ".text");
    CHECK(report->sections[0].rdtsc == 1);
    CHECK(report->sections[0].lookalikes == 1);
    CHECK(report->sections[1].rdtscp == 1);
    CHECK(report->summary() == "2 sites (.text 1, .init.text 1) in the kernel and its 0 vDSOs");
    const Bytes patched(kernel->bytes().begin() + kCodeOffset,
                        kernel->bytes().begin() + kCodeOffset + 12);
    CHECK(patched ==
          code_bytes({0x90, 0x89, 0xc0, 0xb8, 0x0f, 0x31, 0, 0, 0x89, 0xc0, 0x90, 0xc3}));
}

TEST_CASE("A kernel without section headers, or full of what is no code, is not patched") {
    auto bare = read_kernel(make_elf(sample_code, false));
    REQUIRE(bare);
    CHECK_THAT(patch_tsc(bare->bytes(), bare->elf).error().what(),
               Catch::Contains("section headers"));
    auto noise = read_kernel(make_elf(Bytes(200, std::byte{0x06}), true, 100));
    REQUIRE(noise);
    CHECK_THAT(patch_tsc(noise->bytes(), noise->elf).error().what(),
               Catch::Contains("do not decode"));
}

TEST_CASE("A function's symbol shows the RDTSC that data before it would swallow") {
    const Bytes swallowed = code_bytes({0xb8, 0x90, 0x90, 0x0f, 0x31});
    Bytes code = swallowed;
    code.insert(code.end(), swallowed.begin(), swallowed.end());
    auto kernel = read_kernel(make_elf(code, true, swallowed.size()));
    REQUIRE(kernel);
    kernel->elf.functions = {kVirtual, kVirtual + 8, kVirtual + 100};
    const auto report = patch_tsc(kernel->bytes(), kernel->elf);
    REQUIRE(report);
    CHECK(report->sites() == 1);
    CHECK(report->sections[1].rdtsc == 1);
    CHECK(report->sections[0].lookalikes == 1);
}

TEST_CASE("A large section's data matters only near RDTSC's bytes, and then by its place") {
    constexpr std::size_t kCodeBytes = 100'000;
    Bytes code(kCodeBytes, std::byte{0x90});
    std::fill_n(code.begin() + 1000, 1000, std::byte{0x06});
    std::ranges::copy(sample_code, code.begin() + 50'000);
    auto kernel = read_kernel(make_elf(code));
    REQUIRE(kernel);
    const auto report = patch_tsc(kernel->bytes(), kernel->elf);
    REQUIRE(report);
    CHECK(report->sites() == 2);
    CHECK(report->sections.back().sites() == 2);
    CHECK(report->sections.back().lookalikes == 1);
    CHECK(report->sections.back().undecoded_bytes == 0);

    put(code, 70'000, std::uint8_t{0x06});
    put(code, 70'001, std::uint16_t{0x310f});
    auto doubtful = read_kernel(make_elf(code));
    REQUIRE(doubtful);
    const Bytes before(doubtful->bytes().begin(), doubtful->bytes().end());
    CHECK_THAT(patch_tsc(doubtful->bytes(), doubtful->elf).error().what(),
               Catch::StartsWith("at 0xffffffff81011171 in the kernel's .init.text"));
    CHECK(std::ranges::equal(doubtful->bytes(), before));
}

TEST_CASE("A large section in which nothing near RDTSC's bytes looks like code is refused") {
    const Bytes stretch = code_bytes({0x90, 0x06, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
                                      0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x0f, 0x31});
    Bytes code;
    while (code.size() < 100'000)
        code.insert(code.end(), stretch.begin(), stretch.end());
    auto kernel = read_kernel(make_elf(code));
    REQUIRE(kernel);
    CHECK_THAT(patch_tsc(kernel->bytes(), kernel->elf).error().what(),
               Catch::Contains("do not decode"));
}

// FTVMM_TEST_KERNEL names a real kernel to try; without it there is nothing to see.
TEST_CASE("A real kernel named by FTVMM_TEST_KERNEL is patched as a sweep of it all would") {
    const char* path = std::getenv("FTVMM_TEST_KERNEL");
    if (path == nullptr) return;
    std::ifstream file(path, std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    auto kernel = read_kernel(std::as_bytes(std::span(text)));
    REQUIRE(kernel);
    for (const auto& section : kernel->elf.sections) {
        if (!section.executable) continue;
        const auto code = kernel->bytes().subspan(section.file_offset, section.bytes);
        const TscSites whole = sweep_all(code, {});
        const TscSites near = sweep_candidates(code, {});
        INFO(section.name);
        CHECK(near.doubtful == std::nullopt);
        CHECK(near.sites == whole.sites);
        CHECK(near.lookalikes == whole.lookalikes);
    }
    const auto report = patch_tsc(kernel->bytes(), kernel->elf);
    if (!report) FAIL(report.error().line());
    for (const auto& section : report->sections) {
        WARN(section.name << ": " << section.bytes << " bytes, " << section.swept_bytes
                          << " of them swept, rdtsc " << section.rdtsc << ", rdtscp "
                          << section.rdtscp << ", undecoded " << section.undecoded_bytes
                          << ", lookalikes " << section.lookalikes);
    }
    WARN(report->summary());
}

}  // namespace
}  // namespace ftvmm::boot
