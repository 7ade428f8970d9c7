// The guest's RAM as the VMM sees it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "vmm/memory/gpa.h"

namespace ftvmm {

// RAM lies below kLowRamEnd and, what does not fit there, from kHighRamStart on; between them are
// the guest's devices.
inline constexpr Gpa kLowRamEnd{std::uint64_t{3} << 30};
inline constexpr Gpa kHighRamStart{std::uint64_t{4} << 30};

// A stretch of RAM without a hole: one memory slot of KVM.
struct RamBlock {
    Gpa start;
    std::span<std::byte> bytes;
};

// The guest's RAM from guest-physical address 0 on, zeroed, backed by the host only where touched.
//
// Every address that comes from the guest goes through find(), which never reaches outside. Moving
// a GuestMemory does not move its bytes, so KVM's slot stays valid. Owned by the machine; any
// thread may read, and writes happen only while the vCPU is not running, but for those of disks
// that were given pieces of it: owner() keeps these.
class GuestMemory {
  public:
    // `size` is a multiple of the page size and not 0.
    static Result<GuestMemory> create(std::uint64_t size);

    [[nodiscard]] std::uint64_t size() const { return bytes().size(); }
    // All of it, in guest-physical order, without the hole between the blocks.
    [[nodiscard]] std::span<std::byte> bytes() const { return mapping_->bytes(); }
    // One block, or two where the size exceeds kLowRamEnd, lowest first.
    [[nodiscard]] std::vector<RamBlock> blocks() const;
    // The `length` bytes at `address`, or an empty span where any of them is not RAM.
    [[nodiscard]] std::span<std::byte> find(Gpa address, std::uint64_t length) const;
    // Copies `source` to `address`; false, and nothing copied, where it does not fit.
    [[nodiscard]] bool write(Gpa address, std::span<const std::byte> source) const;

    // Whoever holds it has the bytes, though the machine be gone.
    [[nodiscard]] std::shared_ptr<const void> owner() const { return mapping_; }

  private:
    explicit GuestMemory(Mapping mapping)
        : mapping_(std::make_shared<const Mapping>(std::move(mapping))) {}
    std::shared_ptr<const Mapping> mapping_;
};

}  // namespace ftvmm
