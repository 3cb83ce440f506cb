"""Parts of today's block, each passed in where the paper's part stood: windows, latent attention, experts, stretched
rotary angles."""
