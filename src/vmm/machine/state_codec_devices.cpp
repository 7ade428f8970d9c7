#include "vmm/machine/state_codec.h"

namespace ftvmm::machine {

namespace {

pb::Pic8259 encode(const dev::Pic8259::State& state) {
    pb::Pic8259 to;
    for (const auto& chip : state.chips) {
        auto& each = *to.add_chips();
        each.set_lines(chip.lines);
        each.set_irr(chip.irr);
        each.set_isr(chip.isr);
        each.set_imr(chip.imr);
        each.set_elcr(chip.elcr);
        each.set_vector_base(chip.vector_base);
        each.set_highest(chip.highest);
        each.set_step(static_cast<std::uint32_t>(chip.step));
        each.set_wants_icw3(chip.wants_icw3);
        each.set_wants_icw4(chip.wants_icw4);
        each.set_auto_eoi(chip.auto_eoi);
        each.set_rotate_on_auto_eoi(chip.rotate_on_auto_eoi);
        each.set_special_mask(chip.special_mask);
        each.set_special_fully_nested(chip.special_fully_nested);
        each.set_reads_isr(chip.reads_isr);
        each.set_polled(chip.polled);
    }
    return to;
}

dev::Pic8259::Chip decode(Decoder& in, const pb::Pic8259::Chip& from) {
    const auto byte = [&in](std::uint32_t value) {
        return in.number<std::uint8_t>(value, "interrupt controller");
    };
    return {.lines = byte(from.lines()),
            .irr = byte(from.irr()),
            .isr = byte(from.isr()),
            .imr = byte(from.imr()),
            .elcr = byte(from.elcr()),
            .vector_base = byte(from.vector_base()),
            .highest = byte(from.highest()),
            .step = in.enumerator(from.step(), dev::Pic8259::Step::kIcw4, "interrupt controller"),
            .wants_icw3 = from.wants_icw3(),
            .wants_icw4 = from.wants_icw4(),
            .auto_eoi = from.auto_eoi(),
            .rotate_on_auto_eoi = from.rotate_on_auto_eoi(),
            .special_mask = from.special_mask(),
            .special_fully_nested = from.special_fully_nested(),
            .reads_isr = from.reads_isr(),
            .polled = from.polled()};
}

dev::Pic8259::State decode(Decoder& in, const pb::Pic8259& from) {
    dev::Pic8259::State state;
    const bool fits = static_cast<std::size_t>(from.chips_size()) == state.chips.size();
    in.require(fits, "interrupt controller");
    for (int i = 0; fits && i < from.chips_size(); ++i)
        state.chips.at(static_cast<std::size_t>(i)) = decode(in, from.chips(i));
    return state;
}

pb::X2Apic encode(const dev::X2Apic::State& state) {
    pb::X2Apic to;
    to.set_tpr(state.tpr);
    to.set_svr(state.svr);
    for (const std::uint32_t word : state.isr)
        to.add_isr(word);
    for (const std::uint32_t word : state.irr)
        to.add_irr(word);
    to.set_errors(state.errors);
    to.set_errors_shown(state.errors_shown);
    to.set_icr(state.icr);
    for (const std::uint32_t entry : state.lvt)
        to.add_lvt(entry);
    to.set_initial_count(state.initial_count);
    to.set_divide(state.divide);
    to.set_timer_runs(state.timer_runs);
    to.set_period_start_ns(state.period_start_ns);
    to.set_nmi(state.nmi);
    return to;
}

dev::X2Apic::State decode(Decoder& in, const pb::X2Apic& from) {
    constexpr const char* kName = "local APIC";
    return {.tpr = in.number<std::uint8_t>(from.tpr(), kName),
            .svr = from.svr(),
            .isr = in.array<dev::X2Apic::Vectors>(from.isr(), kName),
            .irr = in.array<dev::X2Apic::Vectors>(from.irr(), kName),
            .errors = in.number<std::uint8_t>(from.errors(), kName),
            .errors_shown = in.number<std::uint8_t>(from.errors_shown(), kName),
            .icr = from.icr(),
            .lvt = in.array<std::array<std::uint32_t, 6>>(from.lvt(), kName),
            .initial_count = from.initial_count(),
            .divide = in.number<std::uint8_t>(from.divide(), kName),
            .timer_runs = from.timer_runs(),
            .period_start_ns = from.period_start_ns(),
            .nmi = from.nmi()};
}

pb::Interrupts encode(const Interrupts::State& state) {
    pb::Interrupts to;
    *to.mutable_pic() = encode(state.pic);
    *to.mutable_apic() = encode(state.apic);
    to.set_pv_eoi_msr(state.pv_eoi_msr);
    to.set_flag_set(state.flag_set);
    return to;
}

Interrupts::State decode(Decoder& in, const pb::Interrupts& from) {
    in.require(from.has_pic() && from.has_apic(), "interrupt controllers");
    return {.pic = decode(in, from.pic()),
            .apic = decode(in, from.apic()),
            .pv_eoi_msr = from.pv_eoi_msr(),
            .flag_set = from.flag_set()};
}

pb::PvClock encode(const PvClock::State& state) {
    pb::PvClock to;
    to.set_wall_clock_msr(state.wall_clock_msr);
    to.set_system_time_msr(state.system_time_msr);
    to.set_version(state.version);
    to.set_wall_ns(state.wall_ns);
    if (state.read_at_ns) to.set_read_at_ns(*state.read_at_ns);
    return to;
}

PvClock::State decode(const pb::PvClock& from) {
    return {.wall_clock_msr = from.wall_clock_msr(),
            .system_time_msr = from.system_time_msr(),
            .version = from.version(),
            .wall_ns = from.wall_ns(),
            .read_at_ns = from.has_read_at_ns() ? std::optional(from.read_at_ns()) : std::nullopt};
}

pb::Pit8254 encode(const dev::Pit8254::State& state) {
    pb::Pit8254 to;
    for (const auto& channel : state.channels) {
        auto& each = *to.add_channels();
        each.set_mode(channel.mode);
        each.set_access(static_cast<std::uint32_t>(channel.access));
        each.set_bcd(channel.bcd);
        each.set_write_high(channel.write_high);
        each.set_read_high(channel.read_high);
        each.set_low_byte(channel.low_byte);
        each.set_reload(channel.reload);
        each.set_loaded(channel.loaded);
        each.set_triggered(channel.triggered);
        each.set_gate(channel.gate);
        each.set_since_tick(channel.since_tick);
        each.set_counted(channel.counted);
        each.set_rises_seen(channel.rises_seen);
        if (channel.latched_count) each.set_latched_count(*channel.latched_count);
        if (channel.latched_status) each.set_latched_status(*channel.latched_status);
    }
    to.set_rise_due(state.rise_due);
    to.set_speaker_port(state.speaker_port);
    return to;
}

dev::Pit8254::Channel decode(Decoder& in, const pb::Pit8254::Channel& from) {
    constexpr const char* kName = "interval timer";
    dev::Pit8254::Channel channel{
        .mode = in.number<std::uint8_t>(from.mode(), kName),
        .access = in.enumerator(from.access(), dev::Pit8254::Access::kBoth, kName),
        .bcd = from.bcd(),
        .write_high = from.write_high(),
        .read_high = from.read_high(),
        .low_byte = in.number<std::uint8_t>(from.low_byte(), kName),
        .reload = in.number<std::uint16_t>(from.reload(), kName),
        .loaded = from.loaded(),
        .triggered = from.triggered(),
        .gate = from.gate(),
        .since_tick = from.since_tick(),
        .counted = from.counted(),
        .rises_seen = from.rises_seen()};
    if (from.has_latched_count()) {
        channel.latched_count = in.number<std::uint16_t>(from.latched_count(), kName);
    }
    if (from.has_latched_status()) {
        channel.latched_status = in.number<std::uint8_t>(from.latched_status(), kName);
    }
    return channel;
}

dev::Pit8254::State decode(Decoder& in, const pb::Pit8254& from) {
    dev::Pit8254::State state;
    const bool fits = static_cast<std::size_t>(from.channels_size()) == state.channels.size();
    in.require(fits, "interval timer");
    for (int i = 0; fits && i < from.channels_size(); ++i)
        state.channels.at(static_cast<std::size_t>(i)) = decode(in, from.channels(i));
    state.rise_due = from.rise_due();
    state.speaker_port = in.number<std::uint8_t>(from.speaker_port(), "interval timer");
    return state;
}

pb::RtcCmos encode(const dev::RtcCmos::State& state) {
    pb::RtcCmos to;
    to.set_index(state.index);
    to.set_bytes(to_string(std::as_bytes(std::span(state.bytes))));
    to.set_wall_seconds(state.wall_seconds);
    to.set_second_start_ns(state.second_start_ns);
    to.set_advanced_ns(state.advanced_ns);
    return to;
}

dev::RtcCmos::State decode(Decoder& in, const pb::RtcCmos& from) {
    constexpr const char* kName = "real-time clock";
    return {.index = in.number<std::uint8_t>(from.index(), kName),
            .bytes = in.bytes<std::array<std::uint8_t, 128>>(from.bytes(), kName),
            .wall_seconds = from.wall_seconds(),
            .second_start_ns = from.second_start_ns(),
            .advanced_ns = from.advanced_ns()};
}

pb::Serial16550 encode(const dev::Serial16550::State& state) {
    pb::Serial16550 to;
    to.set_ier(state.ier);
    to.set_lcr(state.lcr);
    to.set_mcr(state.mcr);
    to.set_scratch(state.scratch);
    to.set_fcr(state.fcr);
    to.set_divisor(state.divisor);
    to.set_modem_delta(state.modem_delta);
    to.set_overrun(state.overrun);
    to.set_transmit_due(state.transmit_due);
    to.set_received(state.received);
    to.set_fifo(to_string(std::as_bytes(std::span(state.fifo))));
    return to;
}

dev::Serial16550::State decode(Decoder& in, const pb::Serial16550& from) {
    constexpr const char* kName = "serial port";
    const auto byte = [&in](std::uint32_t value) { return in.number<std::uint8_t>(value, kName); };
    return {.ier = byte(from.ier()),
            .lcr = byte(from.lcr()),
            .mcr = byte(from.mcr()),
            .scratch = byte(from.scratch()),
            .fcr = byte(from.fcr()),
            .divisor = in.number<std::uint16_t>(from.divisor(), kName),
            .modem_delta = byte(from.modem_delta()),
            .overrun = from.overrun(),
            .transmit_due = from.transmit_due(),
            .received = byte(from.received()),
            .fifo = in.bytes<std::array<std::uint8_t, dev::Serial16550::kFifoBytes>>(from.fifo(),
                                                                                     kName)};
}

pb::AcpiPm encode(const dev::AcpiPm::State& state) {
    pb::AcpiPm to;
    to.set_status(state.status);
    to.set_enable(state.enable);
    to.set_control(state.control);
    to.set_reset_control(state.reset_control);
    return to;
}

dev::AcpiPm::State decode(Decoder& in, const pb::AcpiPm& from) {
    constexpr const char* kName = "power management";
    return {.status = in.number<std::uint16_t>(from.status(), kName),
            .enable = in.number<std::uint16_t>(from.enable(), kName),
            .control = in.number<std::uint16_t>(from.control(), kName),
            .reset_control = in.number<std::uint8_t>(from.reset_control(), kName)};
}

}  // namespace

pb::Platform encode(Encoder& out, const Platform::State& state) {
    pb::Platform to;
    *to.mutable_interrupts() = encode(state.interrupts);
    *to.mutable_pv_clock() = encode(state.pv_clock);
    *to.mutable_pit() = encode(state.pit);
    *to.mutable_rtc() = encode(state.rtc);
    *to.mutable_serial() = encode(state.serial);
    *to.mutable_acpi() = encode(state.acpi);
    *to.mutable_virtio() = encode(out, state.virtio);
    to.set_waiting_serial_bytes(to_string(state.waiting_serial_bytes));
    to.set_now_ns(state.now_ns);
    return to;
}

Platform::State decode(Decoder& in, const pb::Platform& from) {
    in.require(from.has_interrupts() && from.has_pv_clock() && from.has_pit() && from.has_rtc() &&
                   from.has_serial() && from.has_acpi() && from.has_virtio(),
               "set of devices");
    Platform::State state;
    state.interrupts = decode(in, from.interrupts());
    state.pv_clock = decode(from.pv_clock());
    state.pit = decode(in, from.pit());
    state.rtc = decode(in, from.rtc());
    state.serial = decode(in, from.serial());
    state.acpi = decode(in, from.acpi());
    state.virtio = decode(in, from.virtio());
    state.waiting_serial_bytes = to_bytes(from.waiting_serial_bytes());
    state.now_ns = from.now_ns();
    return state;
}

}  // namespace ftvmm::machine
