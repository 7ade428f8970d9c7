// Everything of the guest's machine but its processor: the accesses that leave the guest come in
// here, and so do the inputs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "replay/input.h"
#include "replay/output.h"
#include "vmm/dev/acpi_pm.h"
#include "vmm/dev/pit_8254.h"
#include "vmm/dev/rtc_cmos.h"
#include "vmm/dev/serial_16550.h"
#include "vmm/machine/interrupts.h"
#include "vmm/machine/pv_clock.h"
#include "vmm/machine/virtio_devices.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/virtio/dma.h"

namespace ftvmm::machine {

// ISA's lines.
inline constexpr unsigned kPitLine = 0;
inline constexpr unsigned kSerialLine = 4;
inline constexpr unsigned kRtcLine = 8;
inline constexpr unsigned kSciLine = 9;

inline constexpr std::uint16_t kCom1 = 0x3f8;

// Pure: what the guest reads follows from its accesses and the inputs alone. Accesses have 1, 2, 4
// or 8 bytes (ports no 8); what nothing answers reads as all ones and takes no write, as on a PC.
// The machine owns it and calls it while the vCPU does not run; `memory` outlives it. One thread.
class Platform {
  public:
    struct State {
        Interrupts::State interrupts;
        PvClock::State pv_clock;
        dev::Pit8254::State pit;
        dev::RtcCmos::State rtc;
        dev::Serial16550::State serial;
        dev::AcpiPm::State acpi;
        VirtioDevices::State virtio;
        std::vector<std::byte> waiting_serial_bytes;
        std::int64_t now_ns = 0;

        bool operator==(const State&) const = default;
    };

    // What the guest has asked of the machine.
    struct Events {
        bool power_off = false;
        bool reset = false;
    };

    // At power-on.
    Platform(const VirtioConfig& config, const GuestMemory& memory);

    // Takes over `state`, right after construction with the configuration that it is from and over
    // the memory that goes with it; on an error nothing has changed. What was in flight is asked
    // for again and each card's offload is reported again: take the outputs before the guest goes
    // on.
    [[nodiscard]] Result<void> restore(const VirtioConfig& config, const State& state);
    // Outputs and events that were not taken are no part of it: take them first.
    [[nodiscard]] State state() const;

    // First thing at every landmark.
    void begin_landmark() { interrupts_.settle(dma_); }

    // Whether an access depends on the time, so that input::Time must come first.
    [[nodiscard]] static bool port_needs_time(std::uint16_t port, std::uint8_t size);
    [[nodiscard]] static bool msr_needs_time(std::uint32_t msr);
    [[nodiscard]] bool shows_time() const { return pv_clock_.is_on(); }

    [[nodiscard]] std::uint32_t read_port(std::uint16_t port, std::uint8_t size);
    void write_port(std::uint16_t port, std::uint8_t size, std::uint32_t value);
    [[nodiscard]] std::uint64_t read_memory(Gpa address, std::uint8_t size);
    void write_memory(Gpa address, std::uint8_t size, std::uint64_t value);
    // Whether an MSR is the platform's: the x2APIC's, paravirtual EOI's and the clock's.
    [[nodiscard]] static bool has_msr(std::uint32_t msr);
    // Of those; nothing and false mean #GP.
    [[nodiscard]] std::optional<std::uint64_t> read_msr(std::uint32_t msr) const;
    [[nodiscard]] bool write_msr(std::uint32_t msr, std::uint64_t value);

    // As of Blk::move_in_place(), for every disk. Pure no more while data moves in place.
    void move_disk_data_in_place(bool on) { virtio_.move_disk_data_in_place(on); }
    [[nodiscard]] bool is_disk_data_moving_in_place() const {
        return virtio_.is_disk_data_moving_in_place();
    }

    void apply(const replay::Input& input);
    [[nodiscard]] bool wants_packets(std::uint32_t nic) const { return virtio_.wants_packets(nic); }
    [[nodiscard]] bool wants_console_bytes(replay::ConsolePort port) const;

    [[nodiscard]] std::optional<GuestTime> next_deadline() const;
    [[nodiscard]] GuestTime now() const { return now_; }

    [[nodiscard]] bool is_interrupt_pending() const { return interrupts_.is_pending(); }
    [[nodiscard]] std::uint8_t acknowledge_interrupt() { return interrupts_.acknowledge(dma_); }
    [[nodiscard]] bool take_nmi() { return interrupts_.take_nmi(); }

    // What happened since the last call.
    [[nodiscard]] std::vector<replay::Output> take_outputs();
    [[nodiscard]] Events take_events();
    [[nodiscard]] virtio::Dma& dma() { return dma_; }

  private:
    [[nodiscard]] std::optional<std::uint32_t> read_device_port(std::uint16_t port,
                                                                std::uint8_t size);
    [[nodiscard]] bool write_device_port(std::uint16_t port, std::uint8_t size,
                                         std::uint32_t value);
    void write_serial(std::uint16_t port, std::uint8_t value);
    void receive_serial_bytes(std::span<const std::byte> bytes);
    void deliver_waiting_serial_bytes();
    void advance(GuestTime now);
    void deliver_pit_tick();
    void settle_lines();
    void deliver_messages();

    virtio::Dma dma_;
    Interrupts interrupts_;
    PvClock pv_clock_;
    dev::Pit8254 pit_;
    dev::RtcCmos rtc_;
    dev::Serial16550 serial_;
    dev::AcpiPm acpi_;
    VirtioDevices virtio_;
    std::vector<std::byte> waiting_serial_bytes_;
    GuestTime now_{};
    std::vector<replay::Output> outputs_;
};

}  // namespace ftvmm::machine
