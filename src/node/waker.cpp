#include "node/waker.h"

#include <cerrno>
#include <csignal>
#include <mutex>

#include "base/check.h"

namespace ftvmm::node {

namespace {

// Whom a signal on this thread is for. The handler of the same thread is its only other reader.
thread_local std::atomic<Waker*> waker_of_thread{nullptr};

}  // namespace

// One that nobody sends by hand. No real-time signal: sending those can fail for want of memory,
// and the state says already what a second one would.
int Waker::signal_number() {
    return SIGURG;
}

Waker::Waker() {
    FTVMM_CHECK(::sem_init(&posted_, 0, 0) == 0, "a semaphore starts at 0");
}

Waker::~Waker() {
    (void)::sem_destroy(&posted_);
}

Waker::State Waker::make_woken() {
    const auto before = static_cast<State>(state_.exchange(kWoken));
    if (before == kWaiting) (void)::sem_post(&posted_);
    return before;
}

void Waker::wake() {
    if (woken_at_.load(std::memory_order_relaxed) == 0) {
        Instant::rep not_woken = 0;
        woken_at_.compare_exchange_strong(not_woken, clock_.now().time_since_epoch().count());
    }
    if (make_woken() != kRunning) return;
    kicks_.fetch_add(1, std::memory_order_relaxed);
    FTVMM_CHECK(::pthread_kill(thread_.load(), signal_number()) == 0,
                "the vCPU's thread outlives wakes");
}

void Waker::on_signal(int) {
    const int saved = errno;
    if (Waker* const waker = waker_of_thread.load(std::memory_order_relaxed)) {
        waker->machine_->kick();
        (void)waker->make_woken();
    }
    errno = saved;
}

void Waker::enter_machine(replay::GuestMachine& machine) {
    static std::once_flag installed;
    std::call_once(installed, [] {
        struct sigaction action {};
        action.sa_handler = &Waker::on_signal;
        ::sigemptyset(&action.sa_mask);
        action.sa_flags = 0;  // Without SA_RESTART: KVM_RUN is to end.
        FTVMM_CHECK(::sigaction(signal_number(), &action, nullptr) == 0, "a signal has a handler");
    });
    thread_.store(::pthread_self());
    machine_ = &machine;
    waker_of_thread.store(this);
    sigset_t signals{};
    ::sigemptyset(&signals);
    ::sigaddset(&signals, signal_number());
    (void)::pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
    // Whatever came before is looked at first.
    state_.store(kWoken);
}

void Waker::leave_machine() {
    waker_of_thread.store(nullptr);
    machine_ = nullptr;
}

bool Waker::begin_run() {
    int expected = kBusy;
    return state_.compare_exchange_strong(expected, kRunning);
}

void Waker::end_run() {
    int expected = kRunning;
    (void)state_.compare_exchange_strong(expected, kBusy);
}

void Waker::wait() {
    int expected = kBusy;
    if (!state_.compare_exchange_strong(expected, kWaiting)) return;
    // Who turned kWaiting into kWoken posts; a signal alone ends nothing.
    while (::sem_wait(&posted_) != 0) {
    }
}

std::optional<Instant> Waker::take_wake_time() {
    const Instant::rep at = woken_at_.exchange(0);
    if (at == 0) return std::nullopt;
    return Instant(Instant::duration(at));
}

bool Waker::take_news() {
    if (state_.load(std::memory_order_relaxed) != kWoken) return false;
    state_.exchange(kBusy);
    // Last: a signal between the two loses its kick but leaves its news, and begin_run() refuses.
    if (machine_ != nullptr) machine_->clear_kick();
    return true;
}

}  // namespace ftvmm::node
