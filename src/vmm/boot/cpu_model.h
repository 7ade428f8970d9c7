// The processor that the guest sees: CPUID as an explicit table, never the host's.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"

namespace ftvmm::boot {

// x86-64-v2 with FXSAVE alone, or x86-64-v3 with AVX2 and XSAVE.
enum class CpuModel : std::uint8_t { kV2, kV3 };

// What CPUID answers for EAX = `function` and, where it matters, ECX = `index`.
struct CpuidLeaf {
    std::uint32_t function = 0;
    std::uint32_t index = 0;
    bool index_matters = false;
    std::uint32_t eax = 0;
    std::uint32_t ebx = 0;
    std::uint32_t ecx = 0;
    std::uint32_t edx = 0;

    bool operator==(const CpuidLeaf&) const = default;
};

// Every guest sees this many bits of physical address, room for 64 GiB of RAM many times over.
// Hosts' own differ with their firmware's settings (memory encryption takes bits).
inline constexpr std::uint32_t kPhysicalAddressBits = 40;
// Some hosts have fewer, and the guest then too; this many hold 64 GiB and the hole below 4 GiB.
inline constexpr std::uint32_t kMinPhysicalAddressBits = 37;

// The leaves of `model`, by function and index, each once; a leaf within the largest that is not
// there is all zeros. One core of one thread, x2APIC ID 0. From the host, whose
// KVM_GET_SUPPORTED_CPUID is `host`, come vendor, family, model and stepping (Linux chooses errata
// and alternatives by them; only like hosts are paired), and the choice between AMD's way and
// Intel's of telling caches. A host that lacks something is refused with all that it lacks.
Result<std::vector<CpuidLeaf>> make_cpuid(CpuModel model, std::span<const CpuidLeaf> host);

}  // namespace ftvmm::boot
