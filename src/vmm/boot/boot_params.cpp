#include "vmm/boot/boot_params.h"

#include <asm/bootparam.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "vmm/boot/layout.h"
#include "vmm/boot/memory_map.h"
#include "vmm/boot/store_bytes.h"

namespace ftvmm::boot {

namespace {

static_assert(sizeof(boot_params) == kPageBytes);
static_assert(offsetof(boot_params, acpi_rsdp_addr) == 0x70);
static_assert(offsetof(boot_params, hdr) == 0x1f1);

constexpr std::uint64_t kMib = std::uint64_t{1} << 20;
constexpr std::uint16_t kBootFlag = 0xaa55;
constexpr std::uint32_t kHeaderMagic = 0x53726448;  // "HdrS"
constexpr std::uint8_t kLoadedHigh = 1U << 0;
constexpr std::uint8_t kKaslrFlag = 1U << 1;
constexpr std::uint8_t kCanUseHeap = 1U << 7;
constexpr std::uint8_t kUnknownLoader = 0xff;
constexpr std::uint32_t kE820Ram = 1;
constexpr std::uint32_t kE820Reserved = 2;

// struct setup_data of type SETUP_RNG_SEED.
struct RngSeedData {
    std::uint64_t next = 0;
    std::uint32_t type = 9;
    std::uint32_t length = kRngSeedBytes;
    std::array<std::byte, kRngSeedBytes> seed;
};
static_assert(sizeof(RngSeedData) == 16 + kRngSeedBytes && sizeof(RngSeedData) < kSetupData.bytes);

std::uint64_t whole_mib(std::uint64_t bytes) {
    return (bytes + kMib - 1) / kMib;
}

Result<void> check_command_line(const KernelHeader& header, std::string_view line) {
    const std::uint64_t limit =
        std::min<std::uint64_t>(header.command_line_bytes, kCommandLine.bytes - 1);
    if (line.size() > limit) {
        return fail(fmt::format("the kernel's command line has {} bytes, and this kernel reads {}",
                                line.size(), limit),
                    "shorten the VM's command line");
    }
    if (line.find('\0') != std::string_view::npos) {
        return fail("the kernel's command line has a zero byte, with which the kernel would end it",
                    "take it out of the VM's command line");
    }
    return {};
}

// As high as the kernel and low RAM allow, so that the kernel can grow and free around itself.
Result<Gpa> find_initrd_place(const KernelHeader& header, const LoadedKernel& loaded,
                              std::uint64_t bytes, std::uint64_t ram_bytes) {
    if (bytes == 0) return Gpa(0);
    const std::uint64_t reach =
        std::min(kLowRamEnd.value(), std::uint64_t{header.initrd_addr_max} + 1);
    const std::uint64_t top = std::min(ram_bytes, reach);
    const std::uint64_t bottom = (loaded.end.value() + kPageBytes - 1) / kPageBytes * kPageBytes;
    const std::uint64_t start = bytes > top ? 0 : (top - bytes) / kPageBytes * kPageBytes;
    if (start < bottom) {
        return fail(fmt::format("the initrd of {} MiB does not fit between the end of the kernel "
                                "at {:#x} and {:#x}",
                                whole_mib(bytes), loaded.end.value(), top),
                    ram_bytes < reach ? "give the VM more memory" : "make a smaller initrd");
    }
    return Gpa(start);
}

// An ELF file has no setup header, so this is one of a kernel of its assumed facts.
setup_header make_setup_header(const KernelHeader& header) {
    setup_header setup{};
    setup.boot_flag = kBootFlag;
    setup.header = kHeaderMagic;
    setup.version = header.protocol;
    setup.kernel_alignment = header.kernel_alignment;
    setup.relocatable_kernel = 1;
    setup.xloadflags = header.xloadflags;
    setup.cmdline_size = header.command_line_bytes;
    setup.initrd_addr_max = header.initrd_addr_max;
    setup.init_size = header.init_size;
    return setup;
}

void put_setup_header(boot_params& page, const KernelImage& kernel) {
    if (kernel.setup_header.empty()) {
        page.hdr = make_setup_header(kernel.header);
        return;
    }
    FTVMM_CHECK(kernel.setup_header.size() <=
                    offsetof(boot_params, edd_mbr_sig_buffer) - offsetof(boot_params, hdr),
                "read_kernel() keeps no more of a header than there is room for");
    std::memcpy(reinterpret_cast<std::byte*>(&page) + offsetof(boot_params, hdr),
                kernel.setup_header.data(), kernel.setup_header.size());
}

void put_memory_map(boot_params& page, std::uint64_t ram_bytes) {
    for (const auto& range : make_memory_map(ram_bytes)) {
        FTVMM_CHECK(page.e820_entries < E820_MAX_ENTRIES_ZEROPAGE, "a memory map is short");
        const bool ram = range.kind == MemoryRange::Kind::kRam;
        page.e820_table[page.e820_entries++] = {range.start.value(), range.bytes,
                                                ram ? kE820Ram : kE820Reserved};
    }
}

boot_params make_zero_page(const KernelImage& kernel, const BootPlan& plan, Gpa rsdp,
                           std::uint64_t ram_bytes) {
    boot_params page{};
    put_setup_header(page, kernel);
    put_memory_map(page, ram_bytes);
    page.acpi_rsdp_addr = rsdp.value();
    page.hdr.type_of_loader = kUnknownLoader;
    page.hdr.ext_loader_type = 0;
    page.hdr.ext_loader_ver = 0;
    // Without KASLR_FLAG the kernel leaves its own memory regions where they are, too.
    const unsigned flags = page.hdr.loadflags & ~unsigned{kKaslrFlag | kCanUseHeap};
    page.hdr.loadflags = static_cast<std::uint8_t>(flags | kLoadedHigh);
    page.hdr.ramdisk_image = static_cast<std::uint32_t>(plan.initrd.value());
    page.hdr.ramdisk_size = static_cast<std::uint32_t>(plan.initrd_bytes);
    page.hdr.cmd_line_ptr = static_cast<std::uint32_t>(kCommandLine.start.value());
    page.hdr.setup_data = kSetupData.start.value();
    return page;
}

}  // namespace

std::string kernel_command_line(std::string_view user) {
    // nokaslr: patched text stays where it was patched. no_timer_check: the timer is ours and
    // works. io_delay=none: port 0x80 would be an exit each time. panic=-1: a dead guest restarts
    // at once. 8250.nr_uarts=1: no probing of ports that do not answer. random.trust_bootloader=1:
    // the seed counts as entropy, as without a TSC Linux finds none in its own timing. noapic:
    // there is no IO-APIC, and only when told so does Linux leave LINT0 open to the 8259 once it
    // has switched the local APIC off and on (setup_local_APIC()).
    std::string line =
        "nokaslr noapic no_timer_check io_delay=none panic=-1 8250.nr_uarts=1 "
        "random.trust_bootloader=1";
    if (!user.empty()) line.append(" ").append(user);
    return line;
}

Result<BootPlan> write_boot_params(const KernelImage& kernel, const LoadedKernel& loaded,
                                   const BootInputs& inputs, const GuestMemory& memory) {
    if (memory.size() <= kRomEnd.value() || loaded.end.value() > memory.size()) {
        return fail(fmt::format("the guest's memory of {} MiB does not hold the kernel, which ends "
                                "at {:#x}",
                                memory.size() / kMib, loaded.end.value()),
                    "give the VM more memory");
    }
    FTVMM_TRY(check_command_line(kernel.header, inputs.command_line));
    FTVMM_ASSIGN(const Gpa initrd,
                 find_initrd_place(kernel.header, loaded, inputs.initrd.size(), memory.size()));
    const BootPlan plan{kZeroPage.start, initrd, inputs.initrd.size()};

    if (!inputs.initrd.empty()) store_bytes(memory, initrd, inputs.initrd);
    const Gpa line = kCommandLine.start;
    store_bytes(memory, line, std::as_bytes(std::span(inputs.command_line)));
    store_value(memory, line + inputs.command_line.size(), '\0');
    RngSeedData seed{};
    seed.seed = inputs.rng_seed;
    store_value(memory, kSetupData.start, seed);
    store_value(memory, plan.zero_page, make_zero_page(kernel, plan, inputs.rsdp, memory.size()));
    return plan;
}

}  // namespace ftvmm::boot
