#include "vmm/boot/tsc_patch.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>

#include "base/check.h"
#include "vmm/boot/load_bytes.h"
#include "vmm/boot/tsc_sites.h"
#include "vmm/boot/vdso.h"

namespace ftvmm::boot {

namespace {

// As long as what they replace (AMD64 Architecture Programmer's Manual vol. 3). Prefixes, if any,
// stay in front: they change neither what the replacement does nor its length.
constexpr std::array kMovEaxEax{std::byte{0x89}, std::byte{0xc0}};
constexpr std::array kMovEaxEaxNop{std::byte{0x89}, std::byte{0xc0}, std::byte{0x90}};

// Sections up to this size are swept from end to end, which takes about a millisecond. The snippets
// of .altinstr_replacement are short and lie end to end: a sweep of them all is the surest.
constexpr std::uint64_t kSweptWholeBytes = 32 << 10;

struct Section {
    PatchedSection report;
    std::span<std::byte> code;
    std::vector<TscSite> sites;
};

std::vector<std::size_t> functions_in(const ElfSection& section, const ElfFile& elf) {
    std::vector<std::size_t> offsets;
    for (auto function = std::ranges::lower_bound(elf.functions, section.address);
         function != elf.functions.end() && *function - section.address < section.bytes;
         ++function) {
        offsets.push_back(*function - section.address);
    }
    return offsets;
}

Result<Section> search(const ElfSection& section, const ElfFile& elf, CodeMode mode,
                       std::span<std::byte> bytes) {
    const auto bounded = slice(bytes, section.file_offset, section.bytes);
    FTVMM_CHECK(bounded.has_value(), "sections lie within their file");
    const auto code = *bounded;
    const auto functions = functions_in(section, elf);
    TscSites found = section.bytes <= kSweptWholeBytes ? sweep_all(code, functions, mode)
                                                       : sweep_candidates(code, functions, mode);
    if (found.doubtful) {
        return fail(fmt::format("at {:#x} in the kernel's {} code and data cannot be told apart: "
                                "RDTSC cannot be taken out with certainty",
                                section.address + *found.doubtful, section.name),
                    "use a distribution's stock kernel");
    }
    if (found.undecoded_bytes >
        std::max<std::size_t>(kMaxUndecodedBytes, found.swept_bytes / kUndecodedShare)) {
        return fail(fmt::format("{} of {} bytes looked at in the kernel's {} do not decode as "
                                "instructions: RDTSC cannot be taken out with certainty",
                                found.undecoded_bytes, found.swept_bytes, section.name),
                    "use a distribution's stock kernel");
    }
    const auto rdtsc =
        static_cast<std::size_t>(std::ranges::count(found.sites, TscKind::kRdtsc, &TscSite::kind));
    return Section{{section.name, section.bytes, rdtsc, found.sites.size() - rdtsc,
                    found.lookalikes, found.swept_bytes, found.undecoded_bytes},
                   code,
                   std::move(found.sites)};
}

void patch(const Section& section) {
    for (const TscSite& site : section.sites) {
        const auto target = section.code.subspan(site.offset).begin();
        if (site.kind == TscKind::kRdtsc) {
            std::ranges::copy(kMovEaxEax, target);
        } else {
            std::ranges::copy(kMovEaxEaxNop, target);
        }
    }
}

}  // namespace

std::size_t TscPatchReport::sites() const {
    return std::accumulate(
        sections.begin(), sections.end(), std::size_t{0},
        [](std::size_t sum, const PatchedSection& section) { return sum + section.sites(); });
}

std::string TscPatchReport::summary() const {
    std::string parts;
    for (const auto& section : sections) {
        if (section.sites() == 0) continue;
        parts += fmt::format("{}{} {}", parts.empty() ? "" : ", ", section.name, section.sites());
    }
    return fmt::format("{} sites ({}) in the kernel and its {} vDSOs", sites(), parts, vdsos);
}

Result<TscPatchReport> patch_tsc(std::span<std::byte> bytes, const ElfFile& elf) {
    std::vector<Section> searched;
    for (const auto& section : elf.sections) {
        if (!section.executable || section.bytes == 0) continue;
        FTVMM_ASSIGN(Section result, search(section, elf, CodeMode::k64Bit, bytes));
        searched.push_back(std::move(result));
    }
    if (searched.empty()) {
        return fail(
            "the kernel has no section headers that tell its code from its data: RDTSC "
            "cannot be taken out",
            "give the distribution's bzImage, or a vmlinux with its section headers");
    }
    const auto vdsos = find_vdsos(bytes, elf);
    for (const Vdso& vdso : vdsos) {
        for (const auto& section : vdso.code) {
            FTVMM_ASSIGN(Section result, search(section, elf, vdso.mode, bytes));
            searched.push_back(std::move(result));
        }
    }
    TscPatchReport report{{}, vdsos.size()};
    for (Section& section : searched) {
        patch(section);
        report.sections.push_back(std::move(section.report));
    }
    return report;
}

}  // namespace ftvmm::boot
