#include "vmm/memory/guest_memory.h"

#include <algorithm>

#include "base/check.h"

namespace ftvmm {

Result<GuestMemory> GuestMemory::create(std::uint64_t size) {
    FTVMM_CHECK(size > 0 && size % kPageBytes == 0, "guest memory is whole pages");
    // Where guest-physical and host addresses are equal modulo a huge page, KVM can map one as one:
    // misses of the processor's TLB, which walk two sets of page tables, are fewer and shorter.
    auto mapping = Mapping::anonymous_huge(size);
    if (!mapping) {
        return Failure(mapping.error()
                           .with_context("no memory for the guest")
                           .with_advice("give the VM less memory, or the host more"));
    }
    return GuestMemory(std::move(*mapping));
}

std::vector<RamBlock> GuestMemory::blocks() const {
    const std::uint64_t low = std::min(size(), kLowRamEnd.value());
    std::vector<RamBlock> blocks{{Gpa(0), bytes().first(low)}};
    if (low < size()) blocks.push_back({kHighRamStart, bytes().subspan(low)});
    return blocks;
}

std::span<std::byte> GuestMemory::find(Gpa address, std::uint64_t length) const {
    const std::uint64_t low = std::min(size(), kLowRamEnd.value());
    const bool is_high = address >= kHighRamStart;
    const auto block = is_high ? bytes().subspan(low) : bytes().first(low);
    const std::uint64_t start = is_high ? address - kHighRamStart : address.value();
    if (start > block.size() || length > block.size() - start) return {};
    return block.subspan(start, length);
}

bool GuestMemory::write(Gpa address, std::span<const std::byte> source) const {
    const auto target = find(address, source.size());
    if (target.size() != source.size()) return false;
    std::ranges::copy(source, target.begin());
    return true;
}

}  // namespace ftvmm
