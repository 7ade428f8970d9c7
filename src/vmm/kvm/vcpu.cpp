#include "vmm/kvm/vcpu.h"

#include <fmt/format.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

#include "base/check.h"
#include "base/flight_recorder.h"
#include "vmm/kvm/flex_array.h"
#include "vmm/kvm/ioctl.h"

namespace ftvmm::kvm {

namespace {

using MsrArray = FlexArray<kvm_msrs, kvm_msr_entry>;

}  // namespace

Result<void> check_msrs_done(const char* call, int done, std::span<const std::uint32_t> indices) {
    FTVMM_CHECK(done >= 0, "a count of MSRs is not negative");
    const auto count = static_cast<std::size_t>(done);
    if (count >= indices.size()) return {};
    return fail(fmt::format("{}: KVM refuses MSR {:#x} (number {} of {})", call, indices[count],
                            count + 1, indices.size()),
                "run both hosts on the same processor and kernel: this one's KVM lacks the "
                "register or refuses the value");
}

kvm_run& Vcpu::kvm_run_page() const {
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): api.rst 5 lays this page out.
    return *reinterpret_cast<kvm_run*>(run_mapping_.bytes().data());
}

Result<Exit> Vcpu::run() {
    if (::ioctl(fd_.get(), KVM_RUN, 0UL) < 0) {
        if (errno == EINTR) return exit::Interrupted{};
        return Failure(Error::from_errno(errno, "KVM_RUN"));
    }
    Exit exit = decode();
    FlightRecorder::this_thread().note("exit", kvm_run_page().exit_reason, exit.index());
    return exit;
}

Result<Exit> Vcpu::complete() {
    set_immediate_exit(true);
    auto exit = run();
    set_immediate_exit(false);
    // A kick that came meanwhile set the byte too: the flag says so, whenever between the two it
    // came.
    if (kicked_->load()) set_immediate_exit(true);
    return exit;
}

void Vcpu::kick() {
    kicked_->store(true);
    set_immediate_exit(true);
}

void Vcpu::clear_kick() {
    kicked_->store(false);
    set_immediate_exit(false);
}

void Vcpu::set_immediate_exit(bool on) {
    // KVM reads the byte on entry; a signal handler of this thread may set it at any time.
    std::atomic_ref(kvm_run_page().immediate_exit).store(on ? 1 : 0, std::memory_order_relaxed);
}

void Vcpu::request_interrupt_window(bool on) {
    kvm_run_page().request_interrupt_window = on ? 1 : 0;
}

bool Vcpu::ready_for_interrupt_injection() const {
    return kvm_run_page().ready_for_interrupt_injection != 0;
}

bool Vcpu::if_flag() const {
    return kvm_run_page().if_flag != 0;
}

Result<void> Vcpu::interrupt(std::uint8_t vector) const {
    kvm_interrupt request{};
    request.irq = vector;
    FTVMM_TRY(FTVMM_KVM(fd_, KVM_INTERRUPT, &request));
    return {};
}

void Vcpu::set_synced(std::uint64_t mask) {
    kvm_run_page().kvm_valid_regs = mask;
}

const kvm_regs& Vcpu::synced_regs() const {
    return kvm_run_page().s.regs.regs;
}

const kvm_sregs& Vcpu::synced_sregs() const {
    return kvm_run_page().s.regs.sregs;
}

Result<kvm_regs> Vcpu::get_regs() const {
    kvm_regs regs{};
    FTVMM_TRY(FTVMM_KVM(fd_, KVM_GET_REGS, &regs));
    return regs;
}

Result<void> Vcpu::set_regs(const kvm_regs& regs) const {
    FTVMM_TRY(FTVMM_KVM(fd_, KVM_SET_REGS, &regs));
    return {};
}

Result<kvm_sregs> Vcpu::get_sregs() const {
    kvm_sregs sregs{};
    FTVMM_TRY(FTVMM_KVM(fd_, KVM_GET_SREGS, &sregs));
    return sregs;
}

Result<void> Vcpu::set_sregs(const kvm_sregs& sregs) const {
    FTVMM_TRY(FTVMM_KVM(fd_, KVM_SET_SREGS, &sregs));
    kvm_run_page().cr8 = sregs.cr8;
    return {};
}

Result<kvm_fpu> Vcpu::get_fpu() const {
    kvm_fpu fpu{};
    FTVMM_TRY(FTVMM_KVM(fd_, KVM_GET_FPU, &fpu));
    return fpu;
}

Result<void> Vcpu::set_fpu(const kvm_fpu& fpu) const {
    FTVMM_TRY(FTVMM_KVM(fd_, KVM_SET_FPU, &fpu));
    return {};
}

Result<kvm_vcpu_events> Vcpu::get_vcpu_events() const {
    kvm_vcpu_events events{};
    FTVMM_TRY(FTVMM_KVM(fd_, KVM_GET_VCPU_EVENTS, &events));
    return events;
}

Result<void> Vcpu::set_vcpu_events(const kvm_vcpu_events& events) const {
    FTVMM_TRY(FTVMM_KVM(fd_, KVM_SET_VCPU_EVENTS, &events));
    return {};
}

Result<std::vector<kvm_msr_entry>> Vcpu::get_msrs(std::span<const std::uint32_t> indices) const {
    MsrArray msrs(indices.size());
    msrs.header()->nmsrs = static_cast<std::uint32_t>(indices.size());
    for (std::size_t i = 0; i < indices.size(); ++i)
        msrs.entries()[i].index = indices[i];
    FTVMM_ASSIGN(const int done, FTVMM_KVM(fd_, KVM_GET_MSRS, msrs.header()));
    FTVMM_TRY(check_msrs_done("KVM_GET_MSRS", done, indices));
    const auto entries = msrs.entries();
    return std::vector<kvm_msr_entry>(entries.begin(), entries.end());
}

Result<void> Vcpu::set_msrs(std::span<const kvm_msr_entry> entries) const {
    MsrArray msrs(entries.size(), entries);
    msrs.header()->nmsrs = static_cast<std::uint32_t>(entries.size());
    FTVMM_ASSIGN(const int done, FTVMM_KVM(fd_, KVM_SET_MSRS, msrs.header()));
    std::vector<std::uint32_t> indices;
    for (const kvm_msr_entry& entry : entries)
        indices.push_back(entry.index);
    return check_msrs_done("KVM_SET_MSRS", done, indices);
}

Result<kvm_debugregs> Vcpu::get_debugregs() const {
    kvm_debugregs registers{};
    FTVMM_TRY(FTVMM_KVM(fd_, KVM_GET_DEBUGREGS, &registers));
    return registers;
}

Result<void> Vcpu::set_debugregs(const kvm_debugregs& registers) const {
    FTVMM_TRY(FTVMM_KVM(fd_, KVM_SET_DEBUGREGS, &registers));
    return {};
}

Result<kvm_xsave> Vcpu::get_xsave() const {
    kvm_xsave xsave{};
    FTVMM_TRY(FTVMM_KVM(fd_, KVM_GET_XSAVE, &xsave));
    return xsave;
}

Result<void> Vcpu::set_xsave(const kvm_xsave& xsave) const {
    FTVMM_TRY(FTVMM_KVM(fd_, KVM_SET_XSAVE, &xsave));
    return {};
}

Result<kvm_xcrs> Vcpu::get_xcrs() const {
    kvm_xcrs xcrs{};
    FTVMM_TRY(FTVMM_KVM(fd_, KVM_GET_XCRS, &xcrs));
    return xcrs;
}

Result<void> Vcpu::set_xcrs(const kvm_xcrs& xcrs) const {
    FTVMM_TRY(FTVMM_KVM(fd_, KVM_SET_XCRS, &xcrs));
    return {};
}

Result<void> Vcpu::set_cpuid2(std::span<const kvm_cpuid_entry2> entries) const {
    FlexArray<kvm_cpuid2, kvm_cpuid_entry2> cpuid(entries.size(), entries);
    cpuid.header()->nent = static_cast<std::uint32_t>(entries.size());
    FTVMM_TRY(FTVMM_KVM(fd_, KVM_SET_CPUID2, cpuid.header()));
    return {};
}

Result<kvm_translation> Vcpu::translate(std::uint64_t linear_address) const {
    kvm_translation translation{};
    translation.linear_address = linear_address;
    FTVMM_TRY(FTVMM_KVM(fd_, KVM_TRANSLATE, &translation));
    return translation;
}

Result<void> Vcpu::set_guest_debug(const kvm_guest_debug& debug) const {
    FTVMM_TRY(FTVMM_KVM(fd_, KVM_SET_GUEST_DEBUG, &debug));
    return {};
}

Result<void> Vcpu::set_tsc_khz(std::uint32_t khz) const {
    FTVMM_TRY(FTVMM_KVM(fd_, KVM_SET_TSC_KHZ, static_cast<unsigned long>(khz)));
    return {};
}

Result<Mapping> Vcpu::map_dirty_ring(std::size_t bytes) const {
    return Mapping::shared(fd_, bytes, std::size_t{KVM_DIRTY_LOG_PAGE_OFFSET} * kPageBytes);
}

namespace {

exit::MsrReason reason_of(std::uint32_t kvm_reason) {
    if (kvm_reason == KVM_MSR_EXIT_REASON_FILTER) return exit::MsrReason::kFiltered;
    if (kvm_reason == KVM_MSR_EXIT_REASON_UNKNOWN) return exit::MsrReason::kUnknown;
    return exit::MsrReason::kInvalid;
}

Exit decode_io(kvm_run& run, std::span<std::byte> page) {
    const auto size = std::size_t{run.io.size} * run.io.count;
    FTVMM_CHECK(run.io.data_offset <= page.size() && size <= page.size() - run.io.data_offset,
                "KVM's I/O data lies within the mapped kvm_run");
    const auto data = page.subspan(run.io.data_offset, size);
    if (run.io.direction == KVM_EXIT_IO_IN) {
        return exit::IoIn{run.io.port, run.io.size, data};
    }
    return exit::IoOut{run.io.port, run.io.size, data};
}

Exit decode_mmio(kvm_run& run) {
    FTVMM_CHECK(run.mmio.len <= sizeof run.mmio.data, "KVM's MMIO data fits its buffer");
    const auto data = std::as_writable_bytes(std::span(run.mmio.data)).first(run.mmio.len);
    const Gpa address(run.mmio.phys_addr);
    if (run.mmio.is_write != 0) return exit::MmioWrite{address, data};
    return exit::MmioRead{address, data};
}

Exit decode_internal_error(const kvm_run& run) {
    exit::InternalError error;
    error.suberror = run.internal.suberror;
    error.word_count =
        std::min<std::uint32_t>(run.internal.ndata, static_cast<std::uint32_t>(error.words.size()));
    std::copy_n(std::begin(run.internal.data), error.word_count, error.words.begin());
    return error;
}

}  // namespace

Exit Vcpu::decode() const {
    kvm_run& run = kvm_run_page();
    switch (run.exit_reason) {
        case KVM_EXIT_IO:
            return decode_io(run, run_mapping_.bytes());
        case KVM_EXIT_MMIO:
            return decode_mmio(run);
        case KVM_EXIT_HLT:
            return exit::Hlt{};
        case KVM_EXIT_IRQ_WINDOW_OPEN:
            return exit::IrqWindowOpen{};
        case KVM_EXIT_SHUTDOWN:
            return exit::Shutdown{};
        case KVM_EXIT_INTR:
            return exit::Interrupted{};
        case KVM_EXIT_DIRTY_RING_FULL:
            return exit::DirtyRingFull{};
        case KVM_EXIT_DEBUG:
            return exit::Debug{run.debug.arch.exception, run.debug.arch.pc, run.debug.arch.dr6};
        case KVM_EXIT_X86_RDMSR:
            return exit::Rdmsr{run.msr.index, reason_of(run.msr.reason),
                               reinterpret_cast<std::uint64_t*>(&run.msr.data), &run.msr.error};
        case KVM_EXIT_X86_WRMSR:
            return exit::Wrmsr{run.msr.index, reason_of(run.msr.reason), run.msr.data,
                               &run.msr.error};
        case KVM_EXIT_FAIL_ENTRY:
            return exit::FailEntry{run.fail_entry.hardware_entry_failure_reason};
        case KVM_EXIT_INTERNAL_ERROR:
            return decode_internal_error(run);
        default:
            return exit::Unexpected{run.exit_reason};
    }
}

}  // namespace ftvmm::kvm
