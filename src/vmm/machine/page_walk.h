// The guest's linear addresses, looked up in its page tables without leaving a trace there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "vmm/kvm/kvm_api.h"
#include "vmm/memory/guest_memory.h"

namespace ftvmm::machine {

struct MappedPage {
    Gpa address;  // Of the byte that was asked for.
    bool is_for_users = false;
};
// Where `linear` lies by the page tables as they are, whatever rights they give; nothing where it
// is not mapped. KVM_TRANSLATE would set the tables' accessed bits, which the guest can see. For a
// guest in long mode or without paging, the only ones there are.
[[nodiscard]] std::optional<MappedPage> walk_pages(const GuestMemory& memory,
                                                   const kvm_sregs& sregs, std::uint64_t linear);

// Copies what lies at `linear`, up to the first byte that is not mapped to RAM; how many bytes.
[[nodiscard]] std::size_t read_linear(const GuestMemory& memory, const kvm_sregs& sregs,
                                      std::uint64_t linear, std::span<std::byte> target);

}  // namespace ftvmm::machine
