#include "vmm/boot/cpu_model.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <tuple>

#include <catch2/catch.hpp>

#include "vmm/boot/cpu_features.h"

namespace ftvmm::boot {
namespace {

using Leaves = std::vector<CpuidLeaf>;

constexpr std::uint32_t kAll = 0xffffffff;
constexpr std::uint32_t kZen3 = 0x00a20f12;
constexpr std::uint32_t kHaswell = 0x000306c3;

// A host whose KVM offers everything there is and more, in each leaf that KVM reports.
Leaves host_with_everything(std::string_view vendor, std::uint32_t signature) {
    std::array<std::uint32_t, 3> name{};
    std::memcpy(name.data(), vendor.data(), sizeof name);
    const auto [ebx, edx, ecx] = name;
    Leaves host{{0, 0, false, 0x1f, ebx, ecx, edx},
                {1, 0, false, signature, kAll, kAll, kAll},
                {0x80000000, 0, false, 0x80000021, ebx, ecx, edx},
                {0x80000001, 0, false, signature, kAll, kAll, kAll},
                {0x80000008, 0, false, 0x3934, kAll, kAll, kAll},
                {0x40000000, 0, false, kAll, kAll, kAll, kAll},
                {0x40000001, 0, false, kAll, kAll, kAll, kAll}};
    for (const std::uint32_t function : {2U, 5U, 6U, 9U, 0xaU, 0x80000007U, 0x80000021U})
        host.push_back({function, 0, false, kAll, kAll, kAll, kAll});
    for (const std::uint32_t function : {4U, 7U, 0xbU, 0xdU, 0x14U, 0x8000001dU}) {
        for (const std::uint32_t index : {1U, 0U, 2U})
            host.push_back({function, index, true, kAll, kAll, kAll, kAll});
    }
    return host;
}

Leaves amd_host() {
    return host_with_everything("AuthenticAMD", kZen3);
}
Leaves intel_host() {
    return host_with_everything("GenuineIntel", kHaswell);
}

CpuidLeaf& at(Leaves& leaves, std::uint32_t function, std::uint32_t index = 0) {
    const auto found = std::ranges::find_if(leaves, [&](const CpuidLeaf& leaf) {
        return leaf.function == function && leaf.index == index;
    });
    REQUIRE(found != leaves.end());
    return *found;
}

std::uint32_t& reg(CpuidLeaf& leaf, CpuidRegister which) {
    switch (which) {
        case CpuidRegister::kEax:
            return leaf.eax;
        case CpuidRegister::kEbx:
            return leaf.ebx;
        case CpuidRegister::kEcx:
            return leaf.ecx;
        default:
            return leaf.edx;
    }
}

// Where the manuals have the bytes of a leaf's text.
std::string text(const CpuidLeaf& leaf) {
    const std::array words{leaf.eax, leaf.ebx, leaf.ecx, leaf.edx};
    std::string bytes(sizeof words, '\0');
    std::memcpy(bytes.data(), words.data(), sizeof words);
    return bytes;
}

void check_same(const Leaves& got, const Leaves& wanted) {
    REQUIRE(got.size() == wanted.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
        INFO("leaf " << std::hex << wanted[i].function << "." << wanted[i].index);
        CHECK(got[i].function == wanted[i].function);
        CHECK(got[i].index == wanted[i].index);
        CHECK(got[i].index_matters == wanted[i].index_matters);
        CHECK(got[i].eax == wanted[i].eax);
        CHECK(got[i].ebx == wanted[i].ebx);
        CHECK(got[i].ecx == wanted[i].ecx);
        CHECK(got[i].edx == wanted[i].edx);
    }
}

TEST_CASE("Model v2 on an AMD host is this table, whatever more the host has") {
    const auto model = make_cpuid(CpuModel::kV2, amd_host());
    REQUIRE(model);
    check_same(*model, {
                           {0, 0, false, 0xb, 0x68747541, 0x444d4163, 0x69746e65},
                           {1, 0, false, kZen3, 0x00010800, 0x80b82201, 0x078bab6d},
                           {6, 0, false, 4, 0, 0, 0},
                           {7, 0, true, 0, 0, 0, 0},
                           {0xb, 0, true, 0, 1, 0x100, 0},
                           {0xb, 1, true, 0, 1, 0x201, 0},
                           {0xb, 2, true, 0, 0, 2, 0},
                           {0x40000000, 0, false, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d},
                           {0x40000001, 0, false, 0x1000048, 0, 0, 0},
                           {0x80000000, 0, false, 0x80000008, 0x68747541, 0x444d4163, 0x69746e65},
                           {0x80000001, 0, false, kZen3, 0, 0x00000001, 0x2193ab6d},
                           {0x80000002, 0, false, 0x6d767466, 0x3878206d, 0x34362d36, 0x0032762d},
                           {0x80000003, 0, false, 0, 0, 0, 0},
                           {0x80000004, 0, false, 0, 0, 0, 0},
                           {0x80000005, 0, false, 0xff40ff40, 0xff40ff40, 0x20080140, 0x20080140},
                           {0x80000006, 0, false, 0, 0, 0x02006140, 0x00408140},
                           {0x80000008, 0, false, 0x3028, 0, 0, 0},
                       });
}

TEST_CASE("Model v3 on an Intel host is this table, whatever more the host has") {
    const auto model = make_cpuid(CpuModel::kV3, intel_host());
    REQUIRE(model);
    check_same(*model, {
                           {0, 0, false, 0xd, 0x756e6547, 0x6c65746e, 0x49656e69},
                           {1, 0, false, kHaswell, 0x00010800, 0xb6f83203, 0x078bab6d},
                           {2, 0, false, 0x0000ff01, 0, 0, 0},
                           {4, 0, true, 0x121, 0x01c0003f, 0x3f, 0},
                           {4, 1, true, 0x122, 0x01c0003f, 0x3f, 0},
                           {4, 2, true, 0x143, 0x01c0003f, 0x3ff, 0},
                           {4, 3, true, 0x163, 0x03c0003f, 0x1fff, 0},
                           {4, 4, true, 0, 0, 0, 0},
                           {6, 0, false, 4, 0, 0, 0},
                           {7, 0, true, 0, 0x1a9, 0, 0},
                           {0xb, 0, true, 0, 1, 0x100, 0},
                           {0xb, 1, true, 0, 1, 0x201, 0},
                           {0xb, 2, true, 0, 0, 2, 0},
                           {0xd, 0, true, 7, 576, 832, 0},
                           {0xd, 1, true, 0, 0, 0, 0},
                           {0xd, 2, true, 256, 576, 0, 0},
                           {0x40000000, 0, false, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d},
                           {0x40000001, 0, false, 0x1000048, 0, 0, 0},
                           {0x80000000, 0, false, 0x80000008, 0, 0, 0},
                           {0x80000001, 0, false, 0, 0, 0x00000021, 0x20100800},
                           {0x80000002, 0, false, 0x6d767466, 0x3878206d, 0x34362d36, 0x0033762d},
                           {0x80000003, 0, false, 0, 0, 0, 0},
                           {0x80000004, 0, false, 0, 0, 0, 0},
                           {0x80000006, 0, false, 0, 0, 0x02006040, 0},
                           {0x80000008, 0, false, 0x3028, 0, 0, 0},
                       });
}

TEST_CASE("Leaves are in order, each once, for every model and vendor") {
    for (const CpuModel kind : {CpuModel::kV2, CpuModel::kV3}) {
        for (const Leaves& host : {amd_host(), intel_host()}) {
            const auto model = make_cpuid(kind, host);
            REQUIRE(model);
            const auto unordered =
                std::ranges::adjacent_find(*model, [](const CpuidLeaf& a, const CpuidLeaf& b) {
                    return std::tie(a.function, a.index) >= std::tie(b.function, b.index);
                });
            CHECK(unordered == model->end());
        }
    }
}

TEST_CASE("What reads time or entropy, or would not replay exactly, is off on any host") {
    constexpr std::array kForbidden{
        CpuFeature{1, 0, CpuidRegister::kEdx, 4, "TSC"},
        CpuFeature{1, 0, CpuidRegister::kEdx, 7, "MCE"},
        CpuFeature{1, 0, CpuidRegister::kEdx, 12, "MTRR"},
        CpuFeature{1, 0, CpuidRegister::kEdx, 14, "MCA"},
        CpuFeature{1, 0, CpuidRegister::kEcx, 3, "MONITOR"},
        CpuFeature{1, 0, CpuidRegister::kEcx, 15, "PDCM"},
        CpuFeature{1, 0, CpuidRegister::kEcx, 17, "PCID"},
        CpuFeature{1, 0, CpuidRegister::kEcx, 24, "TSC-deadline"},
        CpuFeature{1, 0, CpuidRegister::kEcx, 30, "RDRAND"},
        CpuFeature{7, 0, CpuidRegister::kEbx, 1, "TSC_ADJUST"},
        CpuFeature{7, 0, CpuidRegister::kEbx, 4, "HLE"},
        CpuFeature{7, 0, CpuidRegister::kEbx, 11, "RTM"},
        CpuFeature{7, 0, CpuidRegister::kEbx, 18, "RDSEED"},
        CpuFeature{7, 0, CpuidRegister::kEcx, 2, "UMIP"},
        CpuFeature{7, 0, CpuidRegister::kEcx, 22, "RDPID"},
        CpuFeature{7, 0, CpuidRegister::kEdx, 26, "SPEC_CTRL"},
        CpuFeature{7, 0, CpuidRegister::kEdx, 29, "ARCH_CAPABILITIES"},
        CpuFeature{0x80000001, 0, CpuidRegister::kEcx, 22, "TOPOEXT"},
        CpuFeature{0x80000001, 0, CpuidRegister::kEcx, 29, "MONITORX"},
        CpuFeature{0x80000001, 0, CpuidRegister::kEdx, 4, "TSC, AMD's alias"},
        CpuFeature{0x80000001, 0, CpuidRegister::kEdx, 27, "RDTSCP"},
        CpuFeature{0x80000008, 0, CpuidRegister::kEbx, 4, "RDPRU"},
        CpuFeature{0x80000008, 0, CpuidRegister::kEbx, 12, "IBPB"},
        CpuFeature{0x40000001, 0, CpuidRegister::kEax, 0, "KVM's clock"},
        CpuFeature{0x40000001, 0, CpuidRegister::kEax, 4, "asynchronous page faults"},
        CpuFeature{0x40000001, 0, CpuidRegister::kEax, 5, "steal time"},
    };
    for (const CpuModel kind : {CpuModel::kV2, CpuModel::kV3}) {
        auto model = make_cpuid(kind, amd_host());
        REQUIRE(model);
        for (const CpuFeature& feature : kForbidden) {
            INFO(feature.name);
            CHECK((reg(at(*model, feature.function), feature.reg) >> feature.bit & 1) == 0);
        }
        // Invariant TSC, performance counters and XSAVEOPT have no leaf at all.
        for (const std::uint32_t function : {0x80000007U, 0xaU})
            CHECK(std::ranges::count(*model, function, &CpuidLeaf::function) == 0);
    }
}

void check_each_is_required(CpuModel kind, std::span<const CpuFeature> features) {
    for (const CpuFeature& feature : features) {
        INFO(feature.name);
        Leaves host = amd_host();
        reg(at(host, feature.function, feature.index), feature.reg) &= ~(1U << feature.bit);
        const auto model = make_cpuid(kind, host);
        REQUIRE_FALSE(model);
        const std::string& what = model.error().what();
        CHECK_THAT(what, Catch::Contains(std::string(": ") + feature.name + " (CPUID "));
        // The one, and no other.
        CHECK(std::ranges::count(what, '(') == 1);
        CHECK_THAT(model.error().advice(), Catch::Contains("use hosts of"));
    }
}

TEST_CASE("A host that lacks a feature of its model is refused by the feature's name") {
    check_each_is_required(CpuModel::kV2, kV2Features);
    check_each_is_required(CpuModel::kV3, kV2Features);
    check_each_is_required(CpuModel::kV3, kV3Features);
}

TEST_CASE("A host without AVX2 can have v2, and is told so") {
    Leaves host = intel_host();
    at(host, 7).ebx = 0;
    at(host, 0xd).eax = 3;
    CHECK(make_cpuid(CpuModel::kV2, host));
    const auto refused = make_cpuid(CpuModel::kV3, host);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().what() ==
          "this host's KVM lacks what CPU model v3 needs: FSGSBASE (CPUID 0x7.0 EBX bit 0), BMI1 "
          "(CPUID 0x7.0 EBX bit 3), AVX2 (CPUID 0x7.0 EBX bit 5), SMEP (CPUID 0x7.0 EBX bit 7), "
          "BMI2 (CPUID 0x7.0 EBX bit 8), XCR0.AVX (CPUID 0xd.0 EAX bit 2)");
    CHECK_THAT(refused.error().advice(), Catch::Contains("or the CPU model v2"));
}

TEST_CASE("What the machine itself provides asks nothing of the host") {
    Leaves host = amd_host();
    for (const CpuFeature& feature : kMachineFeatures)
        reg(at(host, feature.function, feature.index), feature.reg) &= ~(1U << feature.bit);
    const auto model = make_cpuid(CpuModel::kV2, host);
    REQUIRE(model);
    CHECK(*model == *make_cpuid(CpuModel::kV2, amd_host()));
}

TEST_CASE("A host that reports nothing is refused, not trusted") {
    const auto model = make_cpuid(CpuModel::kV2, {});
    REQUIRE_FALSE(model);
    CHECK_THAT(model.error().what(), Catch::Contains("FPU") && Catch::Contains("LM (") &&
                                         Catch::Contains("37-bit physical addresses"));
}

TEST_CASE("An emulated EPYC under kvm_amd, the testbed's host, can have both models") {
    const Leaves host{
        {0, 0, false, 0x0000000d, 0x68747541, 0x444d4163, 0x69746e65},
        {1, 0, false, 0x00800f12, 0x00000800, 0x76f83203, 0x078bfbfd},
        {7, 0, true, 0x00000000, 0x009801ab, 0x00000000, 0x20000000},
        {0xd, 0, true, 0x00000007, 0x00000340, 0x00000340, 0x00000000},
        {0xd, 1, true, 0x00000005, 0x00000000, 0x00000000, 0x00000000},
        {0xd, 2, true, 0x00000100, 0x00000240, 0x00000000, 0x00000000},
        {0x80000000, 0, false, 0x80000021, 0x68747541, 0x444d4163, 0x69746e65},
        {0x80000001, 0, false, 0x00800f12, 0x00000000, 0x00000075, 0x2dd3fbfd},
        {0x80000008, 0, false, 0x00003028, 0x02000000, 0x00000000, 0x00000000},
    };
    CHECK(make_cpuid(CpuModel::kV2, host));
    CHECK(make_cpuid(CpuModel::kV3, host));
}

// From here on: what Linux and libraries read out of the leaves, by their own formulas.

TEST_CASE("Family, model and stepping are the host's") {
    auto model = make_cpuid(CpuModel::kV2, amd_host());
    REQUIRE(model);
    const std::uint32_t signature = at(*model, 1).eax;
    CHECK((signature >> 8 & 0xf) + (signature >> 20 & 0xff) == 0x19);
    CHECK(((signature >> 16 & 0xf) << 4 | (signature >> 4 & 0xf)) == 0x21);
    CHECK((signature & 0xf) == 2);
    CHECK(at(*model, 0x80000001).eax == signature);
}

TEST_CASE("The vendor decides how caches are told, Hygon's being AMD's") {
    auto hygon = make_cpuid(CpuModel::kV2, host_with_everything("HygonGenuine", 0x00900f02));
    auto other = make_cpuid(CpuModel::kV2, host_with_everything("  Shanghai  ", 0x000307b0));
    REQUIRE(hygon);
    REQUIRE(other);
    CHECK(std::ranges::count(*hygon, 4U, &CpuidLeaf::function) == 0);
    CHECK(at(*hygon, 0x80000005).ecx != 0);
    CHECK(std::ranges::count(*other, 4U, &CpuidLeaf::function) == 5);
    CHECK(text(at(*hygon, 0)).substr(4) == "HygouinenGen");
    CHECK(at(*other, 0x80000001).edx == 0x20100800);
}

TEST_CASE("The brand string is the model's") {
    auto model = make_cpuid(CpuModel::kV3, amd_host());
    REQUIRE(model);
    std::string brand;
    for (const std::uint32_t function : {0x80000002U, 0x80000003U, 0x80000004U})
        brand += text(at(*model, function));
    CHECK(brand.size() == 48);
    CHECK(brand == std::string("ftvmm x86-64-v3").append(33, '\0'));
}

TEST_CASE("Intel's and AMD's leaves tell of the same caches") {
    constexpr std::uint32_t kKib = 1024;
    auto intel = make_cpuid(CpuModel::kV2, intel_host());
    auto amd = make_cpuid(CpuModel::kV2, amd_host());
    REQUIRE(intel);
    REQUIRE(amd);
    const auto bytes = [&](std::uint32_t index) {
        const CpuidLeaf& leaf = at(*intel, 4, index);
        return ((leaf.ebx >> 22) + 1) * ((leaf.ebx >> 12 & 0x3ff) + 1) * ((leaf.ebx & 0xfff) + 1) *
               (leaf.ecx + 1);
    };
    CHECK(bytes(0) == 32 * kKib);
    CHECK(bytes(1) == 32 * kKib);
    CHECK(bytes(2) == 512 * kKib);
    CHECK(bytes(3) == 8192 * kKib);
    CHECK((at(*amd, 0x80000005).ecx >> 24) * kKib == bytes(0));
    CHECK((at(*amd, 0x80000005).edx >> 24) * kKib == bytes(1));
    CHECK((at(*amd, 0x80000006).ecx >> 16) * kKib == bytes(2));
    CHECK((at(*intel, 0x80000006).ecx >> 16) * kKib == bytes(2));
    CHECK((at(*amd, 0x80000006).edx >> 18) * 512 * kKib == bytes(3));
}

TEST_CASE("Physical addresses have 40 bits, or the host's fewer, but room for 64 GiB") {
    struct Case {
        std::uint32_t host;
        std::uint32_t guest;  // 0: refused.
    };
    for (const auto [host_bits, guest_bits] :
         {Case{52, 40}, Case{46, 40}, Case{40, 40}, Case{39, 39}, Case{37, 37}, Case{36, 0}}) {
        INFO(host_bits);
        Leaves host = intel_host();
        // KVM_GET_SUPPORTED_CPUID has virtual bits above, and newer ones those of the guest.
        at(host, 0x80000008).eax = 0x300000 | 57 << 8 | host_bits;
        auto model = make_cpuid(CpuModel::kV2, host);
        REQUIRE(model.has_value() == (guest_bits != 0));
        if (model) CHECK(at(*model, 0x80000008).eax == (48 << 8 | guest_bits));
    }
}

}  // namespace
}  // namespace ftvmm::boot
