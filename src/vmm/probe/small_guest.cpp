#include "vmm/probe/small_guest.h"

#include <fmt/format.h>

#include <array>
#include <cstring>
#include <optional>

#include "base/check.h"
#include "vmm/probe/run_limit.h"

namespace ftvmm {

namespace {

// The layout of guests/guest.inc, below the image.
constexpr Gpa kGdt{0x500};
constexpr Gpa kTss{0x600};
constexpr Gpa kPml4{0x1000};
constexpr Gpa kPageDirectoryPointers{0x2000};
constexpr Gpa kPageDirectory{0x3000};
constexpr Gpa kStackTop{0x20000};
constexpr Gpa kUserPages{0x200000};
constexpr std::uint64_t kLargePageBytes = 2 << 20;

// Page table bits (AMD64 Architecture Programmer's Manual vol. 2, 5.4).
constexpr std::uint64_t kPresent = 1 << 0;
constexpr std::uint64_t kWritable = 1 << 1;
constexpr std::uint64_t kUser = 1 << 2;
constexpr std::uint64_t kLarge = 1 << 7;

// Control register and EFER bits (vol. 2, 3.1).
constexpr std::uint64_t kCr0 = 0x80010033;  // PG, WP, NE, ET, MP, PE
constexpr std::uint64_t kCr4 = 0x620;       // OSXMMEXCPT, OSFXSR, PAE
constexpr std::uint64_t kEfer = 0x500;      // LMA, LME
constexpr std::uint64_t kRflagsFixed = 0x2;

// Descriptors (vol. 2, 4.8): accessed, so that the processor need not write them.
constexpr std::array<std::uint64_t, 7> kGdtEntries{
    0,                   //
    0x00af9b000000ffff,  // 0x08: code, ring 0, 64-bit
    0x00cf93000000ffff,  // 0x10: data, ring 0
    0x00affb000000ffff,  // 0x18: code, ring 3, 64-bit
    0x00cff3000000ffff,  // 0x20: data, ring 3
    0x0000890006000067,  // 0x28: available 64-bit TSS of 0x68 bytes at kTss
    0,                   // its upper half
};
constexpr std::uint16_t kCodeSelector = 0x08;
constexpr std::uint16_t kDataSelector = 0x10;
constexpr std::uint64_t kTssRsp0Offset = 4;
// No I/O permission map: its base lies behind the segment's end, in the upper half of this word.
constexpr std::uint64_t kTssIoMapOffset = 0x64;
constexpr std::uint64_t kTssIoMapBeyondLimit = 0x68 << 16;

constexpr std::uint32_t kRamSlot = 0;

kvm_segment segment(std::uint16_t selector, bool code) {
    kvm_segment segment{};
    segment.selector = selector;
    segment.limit = 0xffffffff;
    segment.type = code ? 0xb : 0x3;  // Accessed, and readable or writable.
    segment.present = 1;
    segment.s = 1;
    segment.l = code ? 1 : 0;
    segment.db = code ? 0 : 1;
    segment.g = 1;
    return segment;
}

}  // namespace

Result<SmallGuest> SmallGuest::create(const kvm::System& system, std::span<const std::byte> image,
                                      const Options& options) {
    FTVMM_ASSIGN(GuestMemory memory, GuestMemory::create(kRamBytes));
    FTVMM_ASSIGN(kvm::Vm vm, system.create_vm());
    // Where Intel's hidden TSS pages do not meet anything of the guest's.
    FTVMM_TRY(vm.set_tss_addr(Gpa(0xfffbd000)));
    if (options.dirty_ring_bytes != 0) {
        FTVMM_TRY(vm.enable_cap(KVM_CAP_DIRTY_LOG_RING,
                                std::array<std::uint64_t, 1>{options.dirty_ring_bytes}));
    }
    if (options.user_space_msrs) {
        const std::uint64_t reasons =
            KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_FILTER;
        FTVMM_TRY(vm.enable_cap(KVM_CAP_X86_USER_SPACE_MSR, std::array{reasons}));
    }
    if (options.msr_filter != nullptr) FTVMM_TRY(vm.x86_set_msr_filter(*options.msr_filter));
    FTVMM_TRY(vm.set_user_memory_region(kRamSlot, Gpa(0), memory.bytes(), options.slot_flags));
    FTVMM_ASSIGN(kvm::Vcpu vcpu, vm.create_vcpu(0));
    // The host's own features: a small guest is here to show what this host does.
    FTVMM_ASSIGN(const auto cpuid, system.get_supported_cpuid());
    FTVMM_TRY(vcpu.set_cpuid2(cpuid));

    SmallGuest guest(std::move(memory), std::move(vm), std::move(vcpu));
    guest.lay_out_memory(image);
    FTVMM_TRY(guest.start_state());
    return guest;
}

void SmallGuest::lay_out_memory(std::span<const std::byte> image) {
    const auto put = [&](Gpa address, std::uint64_t value) {
        FTVMM_CHECK(memory_.write(address, std::as_bytes(std::span(&value, 1))),
                    "the small guest's tables lie in its RAM");
    };
    FTVMM_CHECK(memory_.write(kImage, image), "the small guest's image fits its RAM");

    put(kPml4, kPageDirectoryPointers.value() | kPresent | kWritable | kUser);
    put(kPageDirectoryPointers, kPageDirectory.value() | kPresent | kWritable | kUser);
    const auto map_large_page = [&](Gpa page, std::uint64_t extra) {
        const std::uint64_t index = page.value() / kLargePageBytes;
        put(kPageDirectory + 8 * index, page.value() | kPresent | kWritable | kLarge | extra);
    };
    for (std::uint64_t page = 0; page < kRamBytes; page += kLargePageBytes) {
        map_large_page(Gpa(page), Gpa(page) == kUserPages ? kUser : 0);
    }
    map_large_page(kMmio, 0);

    for (std::size_t i = 0; i < kGdtEntries.size(); ++i)
        put(kGdt + 8 * i, kGdtEntries[i]);
    put(kTss + kTssRsp0Offset, kStackTop.value());
    put(kTss + kTssIoMapOffset, kTssIoMapBeyondLimit);
}

Result<void> SmallGuest::start_state() {
    FTVMM_ASSIGN(kvm_sregs sregs, vcpu_.get_sregs());
    sregs.cs = segment(kCodeSelector, true);
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = segment(kDataSelector, false);
    sregs.gdt.base = kGdt.value();
    sregs.gdt.limit = static_cast<std::uint16_t>(kGdtEntries.size() * 8 - 1);
    sregs.cr0 = kCr0;
    sregs.cr3 = kPml4.value();
    sregs.cr4 = kCr4;
    sregs.efer = kEfer;
    FTVMM_TRY(vcpu_.set_sregs(sregs));

    kvm_regs regs{};
    regs.rip = kImage.value();
    regs.rsp = kStackTop.value();
    regs.rflags = kRflagsFixed;
    return vcpu_.set_regs(regs);
}

Result<kvm::Exit> SmallGuest::run() {
    FTVMM_ASSIGN(kvm::Exit exit, run_for(kPatience));
    if (std::holds_alternative<kvm::exit::Interrupted>(exit)) {
        return fail(fmt::format("the guest ran for {} ms without an exit", kPatience.count()));
    }
    return exit;
}

Result<kvm::Exit> SmallGuest::run_for(std::chrono::microseconds time) {
    FTVMM_ASSIGN(const RunLimit limit, RunLimit::start(time));
    for (;;) {
        FTVMM_ASSIGN(kvm::Exit exit, vcpu_.run());
        if (!std::holds_alternative<kvm::exit::Interrupted>(exit) || limit.passed()) return exit;
    }
}

Error SmallGuest::unexpected(const std::string& wanted, const kvm::Exit& got) const {
    // After a shutdown AMD's registers are those of a reset: they would tell a place that it never
    // was.
    const auto regs = vcpu_.get_regs();
    const bool known = regs && !std::holds_alternative<kvm::exit::Shutdown>(got);
    const std::string place = known ? fmt::format(" at {:#x}", regs->rip) : std::string();
    return Error(fmt::format("wanted {}, got {}{}", wanted, kvm::describe(got), place));
}

Result<std::uint32_t> SmallGuest::expect_out(std::uint16_t port) {
    FTVMM_ASSIGN(const kvm::Exit exit, run());
    const auto* out = std::get_if<kvm::exit::IoOut>(&exit);
    std::uint32_t value = 0;
    if (out == nullptr || out->port != port || out->data.size() > sizeof value) {
        return Failure(unexpected(fmt::format("one OUT to port {:#x}", port), exit));
    }
    std::memcpy(&value, out->data.data(), out->data.size());
    return value;
}

Result<void> SmallGuest::expect_out(std::uint16_t port, std::uint32_t value) {
    FTVMM_ASSIGN(const std::uint32_t got, expect_out(port));
    if (got == value) return {};
    return fail(fmt::format("wanted {:#x} on port {:#x}, got {:#x}", value, port, got));
}

Result<void> SmallGuest::expect_in(std::uint16_t port, std::uint32_t answer) {
    FTVMM_ASSIGN(const kvm::Exit exit, run());
    const auto* in = std::get_if<kvm::exit::IoIn>(&exit);
    if (in == nullptr || in->port != port || in->data.size() > sizeof answer) {
        return Failure(unexpected(fmt::format("one IN from port {:#x}", port), exit));
    }
    std::memcpy(in->data.data(), &answer, in->data.size());
    return {};
}

Result<void> SmallGuest::expect_hlt() {
    FTVMM_ASSIGN(const kvm::Exit exit, run());
    if (std::holds_alternative<kvm::exit::Hlt>(exit)) return {};
    return Failure(unexpected("HLT", exit));
}

Result<void> SmallGuest::expect_window() {
    FTVMM_ASSIGN(const kvm::Exit exit, run());
    if (std::holds_alternative<kvm::exit::IrqWindowOpen>(exit)) return {};
    return Failure(unexpected("the interrupt window", exit));
}

Result<std::uint64_t> SmallGuest::expect_debug() {
    FTVMM_ASSIGN(const kvm::Exit exit, run());
    if (const auto* debug = std::get_if<kvm::exit::Debug>(&exit)) return debug->pc;
    return Failure(unexpected("a debug exit", exit));
}

}  // namespace ftvmm
