// Sources: Intel SDM vol. 2, CPUID; AMD64 APM vol. 3, appendix E; the kernel's
// Documentation/virt/kvm/x86/cpuid.rst for 0x40000000 and 0x40000001.
#include "vmm/boot/cpu_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <string_view>

#include "base/check.h"
#include "vmm/boot/cpu_features.h"

namespace ftvmm::boot {

namespace {

constexpr std::uint32_t kTopologyLeaf = 0xb;
constexpr std::uint32_t kXsaveLeaf = 0xd;
constexpr std::uint32_t kVirtualAddressBits = 48;
constexpr std::uint32_t kLineBytes = 64;

// "KVMKVMKVM", under which Linux takes an x2APIC without interrupt remapping.
constexpr std::uint32_t kKvmEbx = 0x4b4d564b;
constexpr std::uint32_t kKvmEcx = 0x564b4d56;
constexpr std::uint32_t kKvmEdx = 0x0000004d;

// The bits of leaf 1's EDX that AMD repeats in that of 0x80000001.
constexpr std::uint32_t kAmdAliases = 0x0183f3ff;

// The XSAVE area (SDM vol. 1, 13.4): legacy region and header, then AVX's upper halves.
constexpr std::uint32_t kXsaveHeaderEnd = 576;
constexpr std::uint32_t kAvxBytes = 256;

// The caches that every guest is told of; libraries choose how to copy memory by them. On a host
// whose own differ a copy may be slower, never wrong.
struct Cache {
    std::uint32_t type;  // 1 data, 2 instructions, 3 both.
    std::uint32_t level;
    std::uint32_t kib;
    std::uint32_t ways;
};
constexpr Cache kL1d{1, 1, 32, 8};
constexpr Cache kL1i{2, 1, 32, 8};
constexpr Cache kL2{3, 2, 512, 8};
constexpr Cache kL3{3, 3, 8192, 16};

CpuidLeaf find(std::span<const CpuidLeaf> leaves, std::uint32_t function, std::uint32_t index) {
    const auto found = std::ranges::find_if(leaves, [&](const CpuidLeaf& leaf) {
        return leaf.function == function && (!leaf.index_matters || leaf.index == index);
    });
    return found == leaves.end() ? CpuidLeaf{function, index} : *found;
}

std::uint32_t CpuidLeaf::*member(CpuidRegister reg) {
    switch (reg) {
        case CpuidRegister::kEax:
            return &CpuidLeaf::eax;
        case CpuidRegister::kEbx:
            return &CpuidLeaf::ebx;
        case CpuidRegister::kEcx:
            return &CpuidLeaf::ecx;
        case CpuidRegister::kEdx:
            break;
    }
    return &CpuidLeaf::edx;
}

std::string describe(const CpuFeature& feature) {
    constexpr std::array kRegisters{"EAX", "EBX", "ECX", "EDX"};
    return fmt::format("{} (CPUID {:#x}.{} {} bit {})", feature.name, feature.function,
                       feature.index, kRegisters.at(static_cast<std::size_t>(feature.reg)),
                       feature.bit);
}

void list_missing(std::span<const CpuFeature> features, std::span<const CpuidLeaf> host,
                  std::vector<std::string>& missing) {
    for (const CpuFeature& feature : features) {
        const CpuidLeaf leaf = find(host, feature.function, feature.index);
        if ((leaf.*member(feature.reg) >> feature.bit & 1) == 0) {
            missing.push_back(describe(feature));
        }
    }
}

std::uint32_t physical_address_bits(std::span<const CpuidLeaf> host) {
    return std::min(find(host, 0x80000008, 0).eax & 0xff, kPhysicalAddressBits);
}

Result<void> check_host(CpuModel model, std::span<const CpuidLeaf> host) {
    std::vector<std::string> missing;
    list_missing(kV2Features, host, missing);
    if (model == CpuModel::kV3) list_missing(kV3Features, host, missing);
    if (physical_address_bits(host) < kMinPhysicalAddressBits) {
        missing.push_back(fmt::format("{}-bit physical addresses (CPUID 0x80000008.0 EAX)",
                                      kMinPhysicalAddressBits));
    }
    if (missing.empty()) return {};
    const bool v3 = model == CpuModel::kV3;
    return fail(
        fmt::format("this host's KVM lacks what CPU model {} needs: {}", v3 ? "v3" : "v2",
                    fmt::join(missing, ", ")),
        fmt::format("use hosts of x86-64-{} with nothing of it switched off in the firmware{}; if "
                    "this host is a virtual machine, give it its own host's processor",
                    v3 ? "v3" : "v2", v3 ? ", or the CPU model v2" : ""));
}

bool is_amd(const CpuidLeaf& identity) {
    std::array<char, 12> vendor{};
    const std::array words{identity.ebx, identity.edx, identity.ecx};
    std::memcpy(vendor.data(), words.data(), vendor.size());
    const std::string_view name(vendor.data(), vendor.size());
    return name == "AuthenticAMD" || name == "HygonGenuine";
}

std::uint32_t sets(const Cache& cache) {
    return cache.kib * 1024 / (cache.ways * kLineBytes);
}

// Intel's leaf 4. The fields that count threads and cores are theirs less one, thus 0.
CpuidLeaf intel_cache(std::uint32_t index, const Cache& cache) {
    constexpr std::uint32_t kSelfInitializing = 1 << 8;
    return {4,
            index,
            true,
            cache.type | cache.level << 5 | kSelfInitializing,
            (kLineBytes - 1) | (cache.ways - 1) << 22,
            sets(cache) - 1,
            0};
}

// One word of AMD's 0x80000005: the size, the ways, one line per tag.
constexpr std::uint32_t amd_l1(const Cache& cache) {
    return cache.kib << 24 | cache.ways << 16 | 1 << 8 | kLineBytes;
}

void add_intel_caches(std::vector<CpuidLeaf>& leaves) {
    // One descriptor: "see leaf 4".
    leaves.push_back({2, 0, false, 0x0000ff01, 0, 0, 0});
    std::uint32_t index = 0;
    for (const Cache& cache : {kL1d, kL1i, kL2, kL3})
        leaves.push_back(intel_cache(index++, cache));
    leaves.push_back({4, index, true});
}

// 0x80000005 is AMD's own, 0x80000006 has Intel's second level too.
void add_extended_caches(std::vector<CpuidLeaf>& leaves, bool amd) {
    constexpr std::uint32_t k8Ways = 6 << 12;
    constexpr std::uint32_t k16Ways = 8 << 12;
    constexpr std::uint32_t kOneLinePerTag = 1 << 8;
    constexpr std::uint32_t kL2Word = kL2.kib << 16 | k8Ways | kLineBytes;
    constexpr std::uint32_t kL3Word = (kL3.kib / 512) << 18 | k16Ways | kOneLinePerTag | kLineBytes;
    static_assert(kL2.ways == 8 && kL3.ways == 16);
    if (!amd) {
        leaves.push_back({0x80000006, 0, false, 0, 0, kL2Word, 0});
        return;
    }
    // TLBs of 64 entries, fully associative, for instructions and data; no second level.
    constexpr std::uint32_t kTlbs = 0xff40ff40;
    leaves.push_back({0x80000005, 0, false, kTlbs, kTlbs, amd_l1(kL1d), amd_l1(kL1i)});
    leaves.push_back({0x80000006, 0, false, 0, 0, kL2Word | kOneLinePerTag, kL3Word});
}

// One thread in one core: no bits of the x2APIC ID, which is 0, name either.
void add_topology(std::vector<CpuidLeaf>& leaves) {
    constexpr std::uint32_t kThreads = 1 << 8;
    constexpr std::uint32_t kCores = 2 << 8;
    leaves.push_back({kTopologyLeaf, 0, true, 0, 1, kThreads | 0, 0});
    leaves.push_back({kTopologyLeaf, 1, true, 0, 1, kCores | 1, 0});
    leaves.push_back({kTopologyLeaf, 2, true, 0, 0, 2, 0});
}

// EBX of index 0 is the size for the XCR0 of the moment, and KVM keeps it; index 1 would have
// XSAVEOPT, XSAVEC and XSAVES.
void add_xsave(std::vector<CpuidLeaf>& leaves) {
    leaves.push_back({kXsaveLeaf, 0, true, 0, kXsaveHeaderEnd, kXsaveHeaderEnd + kAvxBytes, 0});
    leaves.push_back({kXsaveLeaf, 1, true});
    leaves.push_back({kXsaveLeaf, 2, true, kAvxBytes, kXsaveHeaderEnd, 0, 0});
}

void add_brand(std::vector<CpuidLeaf>& leaves, CpuModel model) {
    std::array<std::uint32_t, 12> words{};
    const std::string_view brand = model == CpuModel::kV3 ? "ftvmm x86-64-v3" : "ftvmm x86-64-v2";
    std::memcpy(words.data(), brand.data(), brand.size());
    for (std::uint32_t i = 0; i < 3; ++i) {
        const std::uint32_t* word = &words.at(std::size_t{4} * i);
        leaves.push_back({0x80000002 + i, 0, false, word[0], word[1], word[2], word[3]});
    }
}

// All leaves without the features.
std::vector<CpuidLeaf> make_leaves(CpuModel model, std::span<const CpuidLeaf> host) {
    const CpuidLeaf identity = find(host, 0, 0);
    const std::uint32_t signature = find(host, 1, 0).eax;
    const bool amd = is_amd(identity);
    const bool v3 = model == CpuModel::kV3;
    // CLFLUSH's line in units of 8 bytes, one logical processor, APIC ID 0.
    constexpr std::uint32_t kLeaf1Ebx = 1 << 16 | (kLineBytes / 8) << 8;

    std::vector<CpuidLeaf> leaves;
    leaves.push_back(
        {0, 0, false, v3 ? kXsaveLeaf : kTopologyLeaf, identity.ebx, identity.ecx, identity.edx});
    leaves.push_back({1, 0, false, signature, kLeaf1Ebx, 0, 0});
    if (!amd) add_intel_caches(leaves);
    leaves.push_back({6});
    leaves.push_back({7, 0, true});
    add_topology(leaves);
    if (v3) add_xsave(leaves);
    leaves.push_back({0x40000000, 0, false, 0x40000001, kKvmEbx, kKvmEcx, kKvmEdx});
    leaves.push_back({0x40000001});
    CpuidLeaf extended{0x80000000, 0, false, 0x80000008, 0, 0, 0};
    if (amd) {
        extended.ebx = identity.ebx;
        extended.ecx = identity.ecx;
        extended.edx = identity.edx;
    }
    leaves.push_back(extended);
    leaves.push_back({0x80000001, 0, false, amd ? signature : 0});
    add_brand(leaves, model);
    add_extended_caches(leaves, amd);
    leaves.push_back(
        {0x80000008, 0, false, physical_address_bits(host) | kVirtualAddressBits << 8});
    return leaves;
}

CpuidLeaf& leaf_of(std::vector<CpuidLeaf>& leaves, std::uint32_t function, std::uint32_t index) {
    const auto found = std::ranges::find_if(leaves, [&](const CpuidLeaf& leaf) {
        return leaf.function == function && leaf.index == index;
    });
    FTVMM_CHECK(found != leaves.end(), "every feature of a CPU model has its leaf");
    return *found;
}

void set(std::span<const CpuFeature> features, std::vector<CpuidLeaf>& leaves) {
    for (const CpuFeature& feature : features)
        leaf_of(leaves, feature.function, feature.index).*member(feature.reg) |= 1U << feature.bit;
}

}  // namespace

Result<std::vector<CpuidLeaf>> make_cpuid(CpuModel model, std::span<const CpuidLeaf> host) {
    FTVMM_TRY(check_host(model, host));
    std::vector<CpuidLeaf> leaves = make_leaves(model, host);
    set(kV2Features, leaves);
    if (model == CpuModel::kV3) set(kV3Features, leaves);
    set(kMachineFeatures, leaves);
    if (is_amd(find(host, 0, 0))) {
        leaf_of(leaves, 0x80000001, 0).edx |= leaf_of(leaves, 1, 0).edx & kAmdAliases;
    }
    return leaves;
}

}  // namespace ftvmm::boot
