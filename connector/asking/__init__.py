"""What people ask of the books by command: each function makes a request of the arguments, has it carried out, returns plain values."""
