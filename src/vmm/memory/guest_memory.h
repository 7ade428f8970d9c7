// The guest's RAM as the VMM sees it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/fd.h"
#include "base/result.h"
#include "vmm/memory/gpa.h"

namespace ftvmm {

// One block of RAM from guest-physical address 0, zeroed, backed by the host only where touched.
//
// Every address that comes from the guest goes through find(), which never reaches outside. Moving
// a GuestMemory does not move its bytes, so KVM's slot stays valid. Owned by the machine; any
// thread may read, and writes happen only while the vCPU is not running.
class GuestMemory {
  public:
    // `size` is a multiple of the page size and not 0.
    static Result<GuestMemory> create(std::uint64_t size);

    [[nodiscard]] std::uint64_t size() const { return mapping_.bytes().size(); }
    // All of it, in guest-physical order.
    [[nodiscard]] std::span<std::byte> bytes() const { return mapping_.bytes(); }
    // The `length` bytes at `address`, or an empty span where any of them is not RAM.
    [[nodiscard]] std::span<std::byte> find(Gpa address, std::uint64_t length) const;
    // Copies `source` to `address`; false, and nothing copied, where it does not fit.
    [[nodiscard]] bool write(Gpa address, std::span<const std::byte> source) const;

  private:
    explicit GuestMemory(Mapping mapping) : mapping_(std::move(mapping)) {}
    Mapping mapping_;
};

}  // namespace ftvmm
