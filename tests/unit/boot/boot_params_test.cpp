#include "vmm/boot/boot_params.h"

#include <algorithm>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "read_guest.h"
#include "vmm/boot/layout.h"

namespace ftvmm::boot {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::uint64_t kMib = 1 << 20;
constexpr Gpa kRsdp{0xe0000};
// A kernel from 16 to 17 MiB whose end is on no page's edge.
constexpr LoadedKernel kLoaded{Gpa(16 * kMib), Gpa(16 * kMib), Gpa(17 * kMib - 0x123)};

GuestMemory make_memory(std::uint64_t bytes) {
    auto memory = GuestMemory::create(bytes);
    REQUIRE(memory);
    return std::move(*memory);
}

KernelImage make_kernel() {
    return KernelImage{};
}

// Up to 0x26c, with a byte of its own at each offset that the loader has no business with.
KernelImage make_bzimage_kernel() {
    KernelImage kernel;
    for (std::uint64_t offset = 0x1f1; offset < 0x26c; ++offset)
        kernel.setup_header.push_back(static_cast<std::byte>(offset & 0x7f));
    kernel.setup_header[0x211 - 0x1f1] = std::byte{0xe2};  // KASLR, KEEP_SEGMENTS, heap, quiet.
    return kernel;
}

BootInputs make_inputs(const Bytes& initrd = {}, std::string_view command_line = "quiet") {
    BootInputs inputs{initrd, command_line, {}, kRsdp};
    for (std::size_t i = 0; i < inputs.rng_seed.size(); ++i)
        inputs.rng_seed[i] = static_cast<std::byte>(0xa0 + i);
    return inputs;
}

std::uint64_t zero_page_of(const Result<BootPlan>& plan) {
    if (!plan) FAIL(plan.error().line());
    return plan->zero_page.value();
}

TEST_CASE("An ELF kernel gets a setup header at the offsets of boot.rst") {
    const auto memory = make_memory(64 * kMib);
    const Bytes initrd(5000, std::byte{7});
    const auto plan = write_boot_params(make_kernel(), kLoaded, make_inputs(initrd), memory);
    const std::uint64_t page = zero_page_of(plan);
    CHECK(read_guest<std::uint8_t>(memory, page + 0x1ef) == 0);  // sentinel
    CHECK(read_guest<std::uint16_t>(memory, page + 0x1fe) == 0xaa55);
    CHECK(guest_text(memory, page + 0x202, 4) == "HdrS");
    CHECK(read_guest<std::uint16_t>(memory, page + 0x206) == 0x20c);
    CHECK(read_guest<std::uint8_t>(memory, page + 0x210) == 0xff);  // type_of_loader
    CHECK(read_guest<std::uint8_t>(memory, page + 0x211) == 0x01);  // loadflags: LOADED_HIGH
    CHECK(read_guest<std::uint32_t>(memory, page + 0x218) == plan->initrd.value());
    CHECK(read_guest<std::uint32_t>(memory, page + 0x21c) == 5000);
    CHECK(read_guest<std::uint32_t>(memory, page + 0x230) == 0x200000);    // kernel_alignment
    CHECK(read_guest<std::uint16_t>(memory, page + 0x236) == 1);           // xloadflags
    CHECK(read_guest<std::uint32_t>(memory, page + 0x238) == 2047);        // cmdline_size
    CHECK(read_guest<std::uint32_t>(memory, page + 0x22c) == 0x7fffffff);  // initrd_addr_max
    CHECK(read_guest<std::uint64_t>(memory, page + 0x070) == kRsdp.value());
}

TEST_CASE("A bzImage's setup header is passed on but for what the loader fills in") {
    const auto memory = make_memory(64 * kMib);
    const auto kernel = make_bzimage_kernel();
    const auto page = zero_page_of(write_boot_params(kernel, kLoaded, make_inputs(), memory));
    struct Filled {
        std::uint64_t offset, bytes;
    };
    // type_of_loader and loadflags, ramdisk_image and _size, ext_loader_ver and _type with
    // cmd_line_ptr, setup_data.
    constexpr Filled kFilled[] = {{0x210, 2}, {0x218, 8}, {0x226, 6}, {0x250, 8}};
    for (std::uint64_t offset = 0x1f1; offset < 0x26c; ++offset) {
        const bool filled = std::ranges::any_of(kFilled, [&](const Filled& field) {
            return offset >= field.offset && offset < field.offset + field.bytes;
        });
        INFO("offset " << offset);
        if (!filled) {
            CHECK(read_guest<std::byte>(memory, page + offset) ==
                  kernel.setup_header[offset - 0x1f1]);
        }
    }
    CHECK(read_guest<std::uint8_t>(memory, page + 0x1f0) == 0);
    CHECK(read_guest<std::uint8_t>(memory, page + 0x26c) == 0);
    CHECK(read_guest<std::uint8_t>(memory, page + 0x210) == 0xff);
    CHECK(read_guest<std::uint16_t>(memory, page + 0x226) == 0);
    // LOADED_HIGH is added, KASLR and CAN_USE_HEAP go.
    CHECK(read_guest<std::uint8_t>(memory, page + 0x211) == 0x61);
    CHECK(read_guest<std::uint32_t>(memory, page + 0x218) == 0);
    CHECK(read_guest<std::uint32_t>(memory, page + 0x21c) == 0);
}

TEST_CASE("The zero page holds the memory map of all RAM") {
    const auto memory = make_memory(3072 * kMib + 256 * kMib);
    const auto page =
        zero_page_of(write_boot_params(make_kernel(), kLoaded, make_inputs(), memory));
    const auto map = make_memory_map(memory.size());
    REQUIRE(map.size() == 6);
    CHECK(read_guest<std::uint8_t>(memory, page + 0x1e8) == map.size());
    for (std::size_t i = 0; i < map.size(); ++i) {
        const std::uint64_t entry = page + 0x2d0 + 20 * i;
        CHECK(read_guest<std::uint64_t>(memory, entry) == map[i].start.value());
        CHECK(read_guest<std::uint64_t>(memory, entry + 8) == map[i].bytes);
        const bool ram = map[i].kind == MemoryRange::Kind::kRam;
        CHECK(read_guest<std::uint32_t>(memory, entry + 16) == (ram ? 1 : 2));
    }
}

TEST_CASE("The command line is where the zero page says, with a zero behind it") {
    const auto memory = make_memory(64 * kMib);
    // What another start left there.
    std::ranges::fill(memory.find(kCommandLine.start, kCommandLine.bytes), std::byte{'x'});
    const auto page =
        zero_page_of(write_boot_params(make_kernel(), kLoaded, make_inputs({}, "a=1 b"), memory));
    const auto line = read_guest<std::uint32_t>(memory, page + 0x228);
    CHECK(guest_text(memory, line, 6) == std::string_view("a=1 b\0", 6));
}

TEST_CASE("The seed is the one entry of the setup data") {
    const auto memory = make_memory(64 * kMib);
    const auto inputs = make_inputs();
    const auto page = zero_page_of(write_boot_params(make_kernel(), kLoaded, inputs, memory));
    const auto data = read_guest<std::uint64_t>(memory, page + 0x250);
    CHECK(read_guest<std::uint64_t>(memory, data) == 0);      // next
    CHECK(read_guest<std::uint32_t>(memory, data + 8) == 9);  // SETUP_RNG_SEED
    CHECK(read_guest<std::uint32_t>(memory, data + 12) == 32);
    CHECK(read_guest<decltype(inputs.rng_seed)>(memory, data + 16) == inputs.rng_seed);
}

TEST_CASE("An initrd lies whole at the highest page that RAM and the kernel's limit leave") {
    const Bytes initrd = [] {
        Bytes bytes(3 * kPageBytes + 1, std::byte{0x5a});
        bytes.back() = std::byte{0xa5};
        return bytes;
    }();
    auto kernel = make_kernel();
    std::uint64_t expected = 0;
    SECTION("RAM ends first") {
        expected = 64 * kMib - 4 * kPageBytes;
    }
    SECTION("the kernel's limit comes first") {
        kernel.header.initrd_addr_max = 48 * kMib - 1;
        expected = 48 * kMib - 4 * kPageBytes;
    }
    SECTION("the kernel's limit leaves room for the last byte in a page of its own") {
        kernel.header.initrd_addr_max = 48 * kMib;
        expected = 48 * kMib - 3 * kPageBytes;
    }
    const auto memory = make_memory(64 * kMib);
    const auto plan = write_boot_params(kernel, kLoaded, make_inputs(initrd), memory);
    REQUIRE(plan);
    CHECK(plan->initrd == Gpa(expected));
    CHECK(plan->initrd_bytes == initrd.size());
    const auto placed = memory.find(plan->initrd, initrd.size());
    CHECK(std::ranges::equal(placed, initrd));
}

TEST_CASE("An initrd may not reach over 3 GiB, whatever the kernel takes") {
    auto kernel = make_kernel();
    kernel.header.initrd_addr_max = 0xffffffff;
    const auto memory = make_memory(3072 * kMib + 256 * kMib);
    const auto plan = write_boot_params(kernel, kLoaded, make_inputs(Bytes(100)), memory);
    REQUIRE(plan);
    CHECK(plan->initrd == Gpa(kLowRamEnd.value() - kPageBytes));
}

TEST_CASE("An initrd that fills the room to the byte fits, and one byte more does not") {
    // From the page behind the kernel, at 17 MiB, to the end of RAM at 20.
    const auto memory = make_memory(20 * kMib);
    const Bytes fits(3 * kMib, std::byte{1});
    const auto plan = write_boot_params(make_kernel(), kLoaded, make_inputs(fits), memory);
    REQUIRE(plan);
    CHECK(plan->initrd == Gpa(17 * kMib));

    const Bytes too_large(3 * kMib + 1);
    const auto refused = write_boot_params(make_kernel(), kLoaded, make_inputs(too_large), memory);
    REQUIRE_FALSE(refused);
    CHECK_THAT(refused.error().what(), Catch::Contains("the initrd of 4 MiB does not fit"));
    CHECK(refused.error().advice() == "give the VM more memory");
    const Bytes larger_than_memory(21 * kMib);
    CHECK_FALSE(write_boot_params(make_kernel(), kLoaded, make_inputs(larger_than_memory), memory));
}

TEST_CASE("Where more memory would not help an initrd the advice does not ask for it") {
    auto kernel = make_kernel();
    kernel.header.initrd_addr_max = 18 * kMib - 1;
    const auto memory = make_memory(64 * kMib);
    const Bytes initrd(2 * kMib);
    const auto plan = write_boot_params(kernel, kLoaded, make_inputs(initrd), memory);
    REQUIRE_FALSE(plan);
    CHECK(plan.error().advice() == "make a smaller initrd");
}

TEST_CASE("A command line is taken up to the length that the kernel reads, then refused") {
    auto kernel = make_kernel();
    const auto memory = make_memory(64 * kMib);
    const auto accepts = [&](std::size_t length) {
        const std::string line(length, 'a');
        return write_boot_params(kernel, kLoaded, make_inputs({}, line), memory).has_value();
    };
    CHECK(accepts(2047));
    CHECK_FALSE(accepts(2048));
    kernel.header.command_line_bytes = 255;
    CHECK(accepts(255));
    CHECK_FALSE(accepts(256));
    // A kernel that says it reads more than there is room for.
    kernel.header.command_line_bytes = 0xffffffff;
    CHECK(accepts(kCommandLine.bytes - 1));
    CHECK_FALSE(accepts(kCommandLine.bytes));
}

TEST_CASE("A command line with a zero byte is refused") {
    const auto memory = make_memory(64 * kMib);
    const std::string_view line("quiet\0root=/dev/vda1", 20);
    CHECK_FALSE(write_boot_params(make_kernel(), kLoaded, make_inputs({}, line), memory));
}

TEST_CASE("Memory that does not hold the kernel is an error, and nothing is written") {
    for (const std::uint64_t mib : {1, 16}) {
        const auto memory = make_memory(mib * kMib);
        const auto plan = write_boot_params(make_kernel(), kLoaded, make_inputs(), memory);
        REQUIRE_FALSE(plan);
        CHECK(plan.error().advice() == "give the VM more memory");
        CHECK(std::ranges::all_of(memory.find(Gpa(0), 0x20000),
                                  [](std::byte byte) { return byte == std::byte{0}; }));
    }
}

TEST_CASE("The user's kernel parameters come last, so that they win") {
    const std::string line = kernel_command_line("root=/dev/vda1 panic=0");
    CHECK_THAT(line, Catch::EndsWith(" root=/dev/vda1 panic=0"));
    for (const char* ours :
         {"nokaslr ", "noapic ", "no_timer_check ", "io_delay=none ", "panic=-1 "})
        CHECK_THAT(line, Catch::Contains(ours));
    CHECK(kernel_command_line("").back() != ' ');
}

}  // namespace
}  // namespace ftvmm::boot
