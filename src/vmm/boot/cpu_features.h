// The feature bits of the CPU models, as CPUID reports them.
//
// What is in no table is off: among it everything that reads time or entropy (TSC, TSC-deadline,
// invariant TSC, RDTSCP, RDPID, RDRAND, RDSEED, RDPRU); what needs MSRs that are not modelled (MCE,
// MCA, MTRR, the performance counters, and of the mitigations SPEC_CTRL, IBPB, STIBP, SSBD and
// ARCH_CAPABILITIES); what would not replay exactly (MONITOR, RTM, HLE, UMIP, PCID); and what some
// processors of a level lack (INVPCID, SMAP, ERMS, PREFETCHW, 1 GiB pages; AES in v2).
#pragma once

#include <array>
#include <cstdint>

namespace ftvmm::boot {

enum class CpuidRegister : std::uint8_t { kEax, kEbx, kEcx, kEdx };

struct CpuFeature {
    std::uint32_t function;
    std::uint32_t index;
    CpuidRegister reg;
    std::uint8_t bit;
    const char* name;  // As the manuals have it.
};

// x86-64-v2 of the psABI, and what every 64-bit processor has and Linux uses. In every model.
inline constexpr std::array kV2Features{
    CpuFeature{1, 0, CpuidRegister::kEdx, 0, "FPU"},
    CpuFeature{1, 0, CpuidRegister::kEdx, 2, "DE"},
    CpuFeature{1, 0, CpuidRegister::kEdx, 3, "PSE"},
    CpuFeature{1, 0, CpuidRegister::kEdx, 5, "MSR"},
    CpuFeature{1, 0, CpuidRegister::kEdx, 6, "PAE"},
    CpuFeature{1, 0, CpuidRegister::kEdx, 8, "CX8"},
    CpuFeature{1, 0, CpuidRegister::kEdx, 11, "SEP"},
    CpuFeature{1, 0, CpuidRegister::kEdx, 13, "PGE"},
    CpuFeature{1, 0, CpuidRegister::kEdx, 15, "CMOV"},
    CpuFeature{1, 0, CpuidRegister::kEdx, 16, "PAT"},
    CpuFeature{1, 0, CpuidRegister::kEdx, 17, "PSE36"},
    CpuFeature{1, 0, CpuidRegister::kEdx, 19, "CLFSH"},
    CpuFeature{1, 0, CpuidRegister::kEdx, 23, "MMX"},
    CpuFeature{1, 0, CpuidRegister::kEdx, 24, "FXSR"},
    CpuFeature{1, 0, CpuidRegister::kEdx, 25, "SSE"},
    CpuFeature{1, 0, CpuidRegister::kEdx, 26, "SSE2"},
    CpuFeature{1, 0, CpuidRegister::kEcx, 0, "SSE3"},
    CpuFeature{1, 0, CpuidRegister::kEcx, 9, "SSSE3"},
    CpuFeature{1, 0, CpuidRegister::kEcx, 13, "CX16"},
    CpuFeature{1, 0, CpuidRegister::kEcx, 19, "SSE4.1"},
    CpuFeature{1, 0, CpuidRegister::kEcx, 20, "SSE4.2"},
    CpuFeature{1, 0, CpuidRegister::kEcx, 23, "POPCNT"},
    CpuFeature{0x80000001, 0, CpuidRegister::kEcx, 0, "LAHF"},
    CpuFeature{0x80000001, 0, CpuidRegister::kEdx, 11, "SYSCALL"},
    CpuFeature{0x80000001, 0, CpuidRegister::kEdx, 20, "NX"},
    CpuFeature{0x80000001, 0, CpuidRegister::kEdx, 29, "LM"},
};

// What x86-64-v3 adds, and of the rest what every processor with AVX2 has. OSXSAVE is not listed:
// it mirrors CR4, and KVM keeps it. XSAVEOPT, XSAVEC and XSAVES are off because what they write
// depends on what the processor remembers; XSAVE alone writes all of what it is asked for.
inline constexpr std::array kV3Features{
    CpuFeature{1, 0, CpuidRegister::kEcx, 1, "PCLMULQDQ"},
    CpuFeature{1, 0, CpuidRegister::kEcx, 12, "FMA"},
    CpuFeature{1, 0, CpuidRegister::kEcx, 22, "MOVBE"},
    CpuFeature{1, 0, CpuidRegister::kEcx, 25, "AES"},
    CpuFeature{1, 0, CpuidRegister::kEcx, 26, "XSAVE"},
    CpuFeature{1, 0, CpuidRegister::kEcx, 28, "AVX"},
    CpuFeature{1, 0, CpuidRegister::kEcx, 29, "F16C"},
    CpuFeature{7, 0, CpuidRegister::kEbx, 0, "FSGSBASE"},
    CpuFeature{7, 0, CpuidRegister::kEbx, 3, "BMI1"},
    CpuFeature{7, 0, CpuidRegister::kEbx, 5, "AVX2"},
    CpuFeature{7, 0, CpuidRegister::kEbx, 7, "SMEP"},
    CpuFeature{7, 0, CpuidRegister::kEbx, 8, "BMI2"},
    CpuFeature{0xd, 0, CpuidRegister::kEax, 0, "XCR0.x87"},
    CpuFeature{0xd, 0, CpuidRegister::kEax, 1, "XCR0.SSE"},
    CpuFeature{0xd, 0, CpuidRegister::kEax, 2, "XCR0.AVX"},
    CpuFeature{0x80000001, 0, CpuidRegister::kEcx, 5, "LZCNT"},
};

// What the machine itself provides, whatever the host has. ARAT: the timer of the x2APIC never
// stops, so Linux needs no other to wake it. Of KVM's paravirtual features, those
// that spare exits: PV_EOI, and the clock that is read from memory.
inline constexpr std::array kMachineFeatures{
    CpuFeature{1, 0, CpuidRegister::kEdx, 9, "APIC"},
    CpuFeature{1, 0, CpuidRegister::kEcx, 21, "x2APIC"},
    CpuFeature{1, 0, CpuidRegister::kEcx, 31, "hypervisor"},
    CpuFeature{6, 0, CpuidRegister::kEax, 2, "ARAT"},
    CpuFeature{0x40000001, 0, CpuidRegister::kEax, 3, "KVM_FEATURE_CLOCKSOURCE2"},
    CpuFeature{0x40000001, 0, CpuidRegister::kEax, 6, "KVM_FEATURE_PV_EOI"},
    CpuFeature{0x40000001, 0, CpuidRegister::kEax, 24, "KVM_FEATURE_CLOCKSOURCE_STABLE_BIT"},
};

}  // namespace ftvmm::boot
