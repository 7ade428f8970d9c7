// A file that is called a kernel: unpacked, patched, loaded and told where it is, or refused. What
// is taken of it lies where it says, and nowhere else.
#include <algorithm>
#include <cstring>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "fuzz_input.h"
#include "vmm/boot/boot_params.h"
#include "vmm/boot/kernel_image.h"
#include "vmm/boot/layout.h"
#include "vmm/boot/tsc_patch.h"
#include "vmm/boot/vdso.h"

namespace ftvmm::fuzz {
namespace {

constexpr std::uint64_t kMemoryBytes = std::uint64_t{8} << 20;
// What unpacks to more takes all the time of a fuzzer, and no other code.
constexpr std::uint32_t kMaxUnpackedBytes = 1U << 20;

std::optional<std::uint32_t> number_at(std::span<const std::byte> file, std::uint64_t offset) {
    std::uint32_t value = 0;
    if (offset + sizeof value > file.size()) return std::nullopt;
    std::memcpy(&value, file.data() + offset, sizeof value);
    return value;
}

// Whether a bzImage's payload says that it unpacks to more than there is time for. What no kernel
// unpacks to is for read_kernel() to refuse.
bool is_too_slow(std::span<const std::byte> file) {
    constexpr std::uint64_t kSector = 512;
    const auto sectors = number_at(file, 0x1f1);
    const auto offset = number_at(file, 0x248);
    const auto length = number_at(file, 0x24c);
    if (!length) return false;
    const std::uint64_t setup = (*sectors & 0xffU) == 0 ? 4 : *sectors & 0xffU;
    const std::uint64_t end = (setup + 1) * kSector + *offset + *length;
    const auto size = number_at(file, end - sizeof(std::uint32_t));
    return size && *size > kMaxUnpackedBytes && *size <= std::uint32_t{512} << 20U;
}

void check_loaded(const boot::KernelImage& kernel, const boot::LoadedKernel& loaded,
                  const GuestMemory& memory) {
    FTVMM_CHECK(loaded.start >= Gpa(0x10'0000) && loaded.start < loaded.end &&
                    loaded.end <= Gpa(memory.size()),
                "a kernel lies in the guest's memory above 1 MiB");
    FTVMM_CHECK(loaded.entry >= loaded.start && loaded.entry < loaded.end,
                "a kernel is entered where it lies");
    for (const boot::ElfSegment& segment : kernel.elf.segments) {
        const auto target = memory.find(segment.physical, segment.memory_bytes);
        FTVMM_CHECK(target.size() == segment.memory_bytes, "a segment lies in memory");
        const auto source = kernel.bytes().subspan(segment.file_offset, segment.file_bytes);
        FTVMM_CHECK(std::memcmp(target.data(), source.data(), source.size()) == 0,
                    "a segment's bytes are those of the file");
        FTVMM_CHECK(std::ranges::all_of(target.subspan(source.size()),
                                        [](std::byte byte) { return byte == std::byte{}; }),
                    "what follows a segment's bytes is zero");
    }
}

// How many bytes of the patch in `after` stand at the start of what was `before`; 0 where that was
// no RDTSC and no RDTSCP, or is something else now.
std::size_t patch_length(std::span<const std::byte> before, std::span<const std::byte> after) {
    const auto starts = [](std::span<const std::byte> bytes, std::string_view with) {
        return bytes.size() >= with.size() &&
               std::memcmp(bytes.data(), with.data(), with.size()) == 0;
    };
    if (starts(before, "\x0f\x31") && starts(after, "\x89\xc0")) return 2;
    if (starts(before, "\x0f\x01\xf9") && starts(after, "\x89\xc0\x90")) return 3;
    return 0;
}

// The kernel's own, and what of its data is a vDSO's.
std::vector<boot::ElfSection> code_of(std::span<const std::byte> bytes, const boot::ElfFile& elf) {
    std::vector<boot::ElfSection> code;
    std::ranges::copy_if(elf.sections, std::back_inserter(code), &boot::ElfSection::executable);
    for (const boot::Vdso& vdso : boot::find_vdsos(bytes, elf))
        code.insert(code.end(), vdso.code.begin(), vdso.code.end());
    return code;
}

void check_patch(boot::KernelImage& kernel) {
    const std::vector<std::byte> before(kernel.bytes().begin(), kernel.bytes().end());
    const auto patched = boot::patch_tsc(kernel.bytes(), kernel.elf);
    if (!patched || patched->sites() == 0) {
        FTVMM_CHECK(std::ranges::equal(kernel.bytes(), before),
                    "a kernel without sites or with doubts stays as it is");
        return;
    }
    (void)patched->summary();
    const std::span<const std::byte> after = kernel.bytes();
    const auto code = code_of(before, kernel.elf);
    for (std::size_t at = 0; at < before.size();) {
        if (before[at] == after[at]) {
            ++at;
            continue;
        }
        const std::size_t length = patch_length(std::span(before).subspan(at), after.subspan(at));
        FTVMM_CHECK(length != 0, "nothing but RDTSC is patched");
        const bool is_code = std::ranges::any_of(code, [&](const boot::ElfSection& section) {
            return at >= section.file_offset && at - section.file_offset + length <= section.bytes;
        });
        FTVMM_CHECK(is_code, "nothing but code is patched");
        at += length;
    }
}

void boot_it(const boot::KernelImage& kernel) {
    const auto memory = GuestMemory::create(kMemoryBytes);
    if (!memory) return;
    const auto loaded = boot::load_kernel(kernel, *memory);
    if (!loaded) return;
    check_loaded(kernel, *loaded, *memory);
    const std::vector<std::byte> initrd(5000, std::byte{0x33});
    const std::string line = boot::kernel_command_line("quiet");
    const auto plan = boot::write_boot_params(kernel, *loaded,
                                              {initrd, line, {}, boot::kAcpiTables.start}, *memory);
    if (!plan) return;
    FTVMM_CHECK(plan->initrd >= loaded->end && plan->initrd_bytes == initrd.size() &&
                    plan->initrd + initrd.size() <= Gpa(memory->size()),
                "the initrd lies behind the kernel, in memory");
    FTVMM_CHECK(std::ranges::equal(memory->find(plan->initrd, initrd.size()), initrd),
                "the initrd is in memory");
    check_loaded(kernel, *loaded, *memory);
}

void run(std::span<const std::byte> file) {
    if (is_too_slow(file)) return;
    auto kernel = boot::read_kernel(file);
    if (!kernel) {
        FTVMM_CHECK(!kernel.error().what().empty(), "a refusal has a reason");
        return;
    }
    check_patch(*kernel);
    boot_it(*kernel);
}

}  // namespace
}  // namespace ftvmm::fuzz

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    ftvmm::fuzz::run(std::as_bytes(std::span(data, size)));
    return 0;
}
