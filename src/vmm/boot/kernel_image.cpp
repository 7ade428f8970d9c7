#include "vmm/boot/kernel_image.h"

#include <asm/bootparam.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "vmm/boot/load_bytes.h"
#include "vmm/boot/payload.h"

namespace ftvmm::boot {

namespace {

constexpr std::uint64_t kSetupHeaderOffset = 0x1f1;
constexpr std::uint64_t kJumpLengthOffset = 0x201;
constexpr std::uint64_t kOldestHeaderEnd = 0x268;  // Behind the last field of protocol 2.12.
constexpr std::uint64_t kSetupHeaderRoom = 0x290;  // zero-page.rst: where the next field starts.
constexpr std::uint64_t kSectorBytes = 512;
constexpr std::uint16_t kBootFlag = 0xaa55;
constexpr std::uint32_t kHeaderMagic = 0x53726448;  // "HdrS"
constexpr std::uint16_t kOldestProtocol = 0x20c;
constexpr Gpa kLowestKernel{0x100000};

// Bytes 0x1f1 to the end of the header, as far as the file's own protocol has it.
Result<setup_header> parse_setup_header(std::span<const std::byte> file) {
    const auto setup = load_bytes<setup_header>(file, kSetupHeaderOffset);
    if (!setup || setup->boot_flag != kBootFlag || setup->header != kHeaderMagic) {
        return fail("the kernel is neither a bzImage nor an ELF file",
                    "give a Linux kernel for x86-64, usually /boot/vmlinuz-VERSION");
    }
    if (setup->version < kOldestProtocol) {
        return fail(fmt::format("the kernel's boot protocol is {}.{}, 2.12 is needed",
                                setup->version >> 8, setup->version & 0xff),
                    "use a kernel of 2013 or later");
    }
    if ((setup->xloadflags & XLF_KERNEL_64) == 0) {
        return fail("the kernel has no 64-bit entry", "give a 64-bit x86 kernel");
    }
    return *setup;
}

// The same header raw. boot.rst, "jump": it ends at 0x202 plus the byte at 0x201. Fields that
// boot_params has no room for are left out.
Result<std::span<const std::byte>> find_setup_header(std::span<const std::byte> file) {
    const auto jump_bytes = load_bytes<std::uint8_t>(file, kJumpLengthOffset);
    const std::uint64_t end =
        std::min<std::uint64_t>(kJumpLengthOffset + 1 + jump_bytes.value_or(0), kSetupHeaderRoom);
    const auto header = slice(file, kSetupHeaderOffset, end - kSetupHeaderOffset);
    if (!header || end < kOldestHeaderEnd) {
        return fail("the kernel's setup header is shorter than its boot protocol says",
                    "the file may be damaged: install the kernel again");
    }
    return *header;
}

Result<std::span<const std::byte>> find_payload(std::span<const std::byte> file,
                                                const setup_header& setup) {
    // boot.rst: setup_sects of 0 means 4; the boot sector comes on top.
    const std::uint64_t sectors = setup.setup_sects == 0 ? 4 : setup.setup_sects;
    const std::uint64_t offset = (sectors + 1) * kSectorBytes + setup.payload_offset;
    const auto payload = slice(file, offset, setup.payload_length);
    if (!payload || payload->empty()) {
        return fail("the kernel file is cut short: its payload is not all there",
                    "the file may be damaged: install the kernel again");
    }
    return *payload;
}

}  // namespace

Result<KernelImage> read_kernel(std::span<const std::byte> file) {
    if (is_elf(file)) {
        FTVMM_ASSIGN(ElfFile elf, parse_elf(file));
        FTVMM_ASSIGN(Mapping copy, map_kernel(file.size()));
        std::ranges::copy(file, copy.bytes().begin());
        return KernelImage{{}, {}, std::move(copy), std::move(elf)};
    }
    FTVMM_ASSIGN(const setup_header setup, parse_setup_header(file));
    FTVMM_ASSIGN(const auto raw_setup, find_setup_header(file));
    FTVMM_ASSIGN(const auto payload, find_payload(file, setup));
    FTVMM_ASSIGN(Mapping unpacked, unpack_payload(payload));
    FTVMM_ASSIGN(ElfFile elf, parse_elf(unpacked.bytes()));
    const KernelHeader header{setup.version,          setup.cmdline_size, setup.initrd_addr_max,
                              setup.kernel_alignment, setup.xloadflags,   setup.init_size};
    return KernelImage{
        header, {raw_setup.begin(), raw_setup.end()}, std::move(unpacked), std::move(elf)};
}

Result<LoadedKernel> load_kernel(const KernelImage& kernel, const GuestMemory& memory) {
    const auto& segments = kernel.elf.segments;
    const std::uint64_t low_end = std::min(memory.size(), kLowRamEnd.value());
    for (const auto& segment : segments) {
        if (segment.physical < kLowestKernel) {
            return fail(fmt::format("the file is no kernel: it wants the memory at {:#x}",
                                    segment.physical.value()),
                        "give a Linux kernel for x86-64, usually /boot/vmlinuz-VERSION");
        }
        if (segment.end().value() > low_end) {
            return fail(fmt::format("the kernel wants {:#x} to {:#x}, and the guest's memory for "
                                    "it is {:#x} to {:#x}",
                                    segment.physical.value(), segment.end().value(),
                                    kLowestKernel.value(), low_end),
                        "give the VM more memory");
        }
    }
    for (const auto& segment : segments) {
        const auto target = memory.find(segment.physical, segment.memory_bytes);
        const auto source = slice(kernel.bytes(), segment.file_offset, segment.file_bytes);
        FTVMM_CHECK(source && target.size() == segment.memory_bytes,
                    "a kernel's segments were checked against its file and memory");
        const auto rest = std::ranges::copy(*source, target.begin()).out;
        std::fill(rest, target.end(), std::byte{0});
    }
    return LoadedKernel{kernel.elf.entry, segments.front().physical, segments.back().end()};
}

}  // namespace ftvmm::boot
